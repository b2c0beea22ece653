import gc

import torch

from nws_data.read.buffers import BatchBuffers


def test_memory_is_used_again_only_when_nobody_holds_it() -> None:
    buffers = BatchBuffers()
    first = buffers.take((4, 8))
    address = first.data_ptr()
    second = buffers.take((4, 8))
    assert second.data_ptr() != address
    row = first[2]  # a view keeps the whole batch
    del first
    gc.collect()
    assert buffers.take((4, 8)).data_ptr() != address
    del row
    gc.collect()
    assert buffers.take((4, 8)).data_ptr() == address


def test_numpy_and_autograd_hold_the_memory_too() -> None:
    buffers = BatchBuffers()
    batch = buffers.take((3,))
    address = batch.data_ptr()
    weight = torch.ones(3, requires_grad=True)
    loss = (batch.fill_(2) * weight).sum()
    array = batch.numpy()
    del batch
    buffers.take((3,)).fill_(9)
    loss.backward()
    assert weight.grad is not None and weight.grad.tolist() == [2, 2, 2]
    del loss
    assert buffers.take((3,)).data_ptr() != address
    assert array.tolist() == [2, 2, 2]


def test_a_batch_outlives_its_buffers() -> None:
    batch = BatchBuffers().take((5,)).fill_(3)
    gc.collect()
    assert batch.tolist() == [3] * 5


def test_other_sizes_get_their_own_memory() -> None:
    buffers = BatchBuffers()
    for shape in ((2, 3), (1, 3), (2, 3), (7,)):
        assert buffers.take(shape).shape == shape


def test_batches_that_are_kept_never_share_memory() -> None:
    buffers = BatchBuffers()
    batches = [buffers.take((10,)).fill_(i) for i in range(20)]
    assert [int(batch[0]) for batch in batches] == list(range(20))
    assert len({batch.data_ptr() for batch in batches}) == 20
