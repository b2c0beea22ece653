"""How trainings are computed: backends of one meaning for CPUs and cards, behind one interface."""
