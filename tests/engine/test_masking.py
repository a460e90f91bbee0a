"""Masks and order are pure functions of seed, epoch, block and position."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from trainer.engine.masking import ACTION, CHOICE, HELD_OUT_EPOCH, Masking, hashed, shuffled, uniform

VOCABULARY, MASK, SPECIAL = 5000, 4, (0, 1, 2, 3, 4)
RULE = Masking(seed=42, probability=0.15, mask_token_id=MASK, special_ids=SPECIAL, vocabulary_size=VOCABULARY)
BITS = (1 << 64) - 1


def random_ids(blocks: int, tokens: int = 128, low: int = 5) -> torch.Tensor:
    return torch.randint(low, VOCABULARY, (blocks, tokens), generator=torch.Generator().manual_seed(0))


def splitmix64(state: int) -> int:
    """The output of SplitMix64 for a state, in whole numbers of any size."""
    z = (state + 0x9E3779B97F4A7C15) & BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & BITS
    return z ^ (z >> 31)


def finalized(z: int) -> int:
    return splitmix64((z - 0x9E3779B97F4A7C15) & BITS)


def test_reference_gives_the_published_numbers_of_splitmix64():
    assert splitmix64(1234567) == 6457827717110365317
    assert splitmix64((1234567 + 0x9E3779B97F4A7C15) & BITS) == 3203168211198807973


@pytest.mark.parametrize("keys", [(0,), (7, 3), (-1, 5, 127), (10**6, 2**31, 8191)])
def test_hash_equals_a_reference_in_plain_python(keys):
    for seed in (0, 42, 2**31 - 1):
        state = seed * 8 + ACTION
        for key in keys:
            state = splitmix64((state + key) & BITS)
        assert hashed(seed, ACTION, *keys).item() == finalized(state) >> 11


def test_hash_of_tensors_is_the_hash_of_their_elements():
    rows, columns = torch.tensor([[3], [9]]), torch.tensor([0, 1, 2])
    together = hashed(1, CHOICE, 5, rows, columns)
    alone = [[hashed(1, CHOICE, 5, row, column).item() for column in (0, 1, 2)] for row in (3, 9)]
    assert together.tolist() == alone


def test_uniform_numbers_fill_the_unit_interval_evenly():
    numbers = uniform(42, CHOICE, 0, torch.arange(100_000))
    assert numbers.min() >= 0 and numbers.max() < 1
    shares = torch.histc(numbers.float(), bins=10, min=0, max=1) / len(numbers)
    assert (shares - 0.1).abs().max() < 0.01


@pytest.mark.parametrize("probability", [0.15, 0.4])
def test_chosen_tokens_are_the_asked_share_and_split_80_10_10(probability):
    ids = random_ids(2000)  # 256,000 tokens
    batch = replace(RULE, probability=probability)(ids, torch.arange(2000), epoch=0)
    assert len(batch.positions) / ids.numel() == pytest.approx(probability, abs=0.01)
    now = batch.input_ids.flatten()[batch.positions]
    masked, kept = now == MASK, now == batch.targets
    assert masked.float().mean().item() == pytest.approx(0.8, abs=0.01)
    assert kept.float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert (~masked & ~kept).float().mean().item() == pytest.approx(0.1, abs=0.01)


def test_replacements_come_evenly_from_the_whole_vocabulary():
    ids = random_ids(2000)
    batch = RULE(ids, torch.arange(2000), epoch=0)
    now = batch.input_ids.flatten()[batch.positions]
    replaced = now[(now != MASK) & (now != batch.targets)]
    assert replaced.min() >= 0 and replaced.max() < VOCABULARY
    shares = torch.histc(replaced.float(), bins=5, min=0, max=VOCABULARY) / len(replaced)
    assert (shares - 0.2).abs().max() < 0.03


def test_targets_are_the_tokens_that_stood_at_the_positions_and_all_others_are_untouched():
    ids = random_ids(50)
    batch = RULE(ids, torch.arange(50), epoch=3)
    assert torch.equal(batch.targets, ids.flatten()[batch.positions])
    assert torch.equal(batch.positions, batch.positions.sort().values)
    untouched = torch.ones(ids.numel(), dtype=torch.bool)
    untouched[batch.positions] = False
    assert torch.equal(batch.input_ids.flatten()[untouched], ids.flatten()[untouched])


def test_special_tokens_are_never_chosen():
    ids = random_ids(1000, low=0) % 20  # a quarter of them special
    batch = replace(RULE, probability=0.9)(ids, torch.arange(1000), epoch=0)
    special = torch.isin(ids, torch.tensor(SPECIAL))
    assert special.float().mean() > 0.2
    assert torch.equal(batch.input_ids[special], ids[special])
    assert not torch.isin(batch.targets, torch.tensor(SPECIAL)).any()
    assert len(batch.targets) / (~special).sum().item() == pytest.approx(0.9, abs=0.01)


def test_masks_do_not_depend_on_batch_size_or_company():
    ids, blocks = random_ids(24), torch.arange(24)
    whole = RULE(ids, blocks, epoch=1)
    hidden = torch.zeros(ids.numel(), dtype=torch.bool)
    hidden[whole.positions] = True
    mixed = shuffled(24, seed=0, epoch=0)
    for size in (1, 5, 24):
        for rows in mixed.split(size):
            batch = RULE(ids[rows], rows, epoch=1)
            assert torch.equal(batch.input_ids, whole.input_ids[rows])
            assert torch.equal(batch.positions, hidden.view(24, -1)[rows].flatten().nonzero().squeeze(1))


def test_padding_is_never_chosen_and_changes_no_mask():
    ids, blocks, starts = random_ids(24), torch.arange(24), torch.ones(24, 128, dtype=torch.bool)
    rule = replace(RULE, probability=0.5)
    attention_mask = (torch.arange(128) < torch.arange(20, 44)[:, None]).long()
    padded = rule(ids, blocks, epoch=1, word_starts=starts, attention_mask=attention_mask)
    assert padded.tokens == attention_mask.sum()
    chosen = torch.zeros(ids.numel(), dtype=torch.bool)
    chosen[padded.positions] = True
    for row, long in enumerate(range(20, 44)):
        alone = rule(ids[row : row + 1, :long], blocks[row : row + 1], epoch=1)
        assert alone.positions.tolist() == chosen.view(24, -1)[row].nonzero().flatten().tolist()
        assert torch.equal(padded.input_ids[row, :long], alone.input_ids[0])
        assert torch.equal(padded.input_ids[row, long:], ids[row, long:])


def test_masks_are_equal_for_equal_keys_and_differ_by_epoch_seed_and_block():
    ids, blocks = random_ids(8), torch.arange(8)
    first = RULE(ids, blocks, epoch=0)
    again = RULE(ids, blocks, epoch=0)
    assert torch.equal(first.input_ids, again.input_ids) and torch.equal(first.positions, again.positions)
    others = [
        RULE(ids, blocks, epoch=1),
        RULE(ids, blocks, epoch=HELD_OUT_EPOCH),
        replace(RULE, seed=43)(ids, blocks, epoch=0),
        RULE(ids, blocks + 8, epoch=0),
    ]
    for other in others:
        common = torch.isin(first.positions, other.positions).float().mean().item()
        assert common == pytest.approx(0.15, abs=0.12)  # what chance gives


def test_whole_words_are_hidden_together():
    ids = random_ids(1000)
    starts = uniform(0, CHOICE, torch.arange(1000)[:, None], torch.arange(128)) < 0.5
    batch = RULE(ids, torch.arange(1000), epoch=0, word_starts=starts)
    chosen = torch.zeros(ids.numel(), dtype=torch.bool)
    chosen[batch.positions] = True
    chosen = chosen.view_as(ids)
    continued = ~starts
    continued[:, 0] = False
    assert torch.equal(chosen[continued], chosen.roll(1, dims=1)[continued])
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=0.01)
    neighbours = starts[:, 1:]
    assert (chosen[:, 1:] != chosen[:, :-1])[neighbours].any()  # but not all words alike


def test_order_is_a_permutation_that_depends_on_seed_and_epoch():
    for count in (0, 1, 2, 1000):
        assert shuffled(count, seed=1, epoch=0).sort().values.tolist() == list(range(count))
    orders = {tuple(shuffled(100, seed=seed, epoch=epoch).tolist()) for seed in (1, 2) for epoch in (0, 1)}
    assert len(orders) == 4 and tuple(range(100)) not in orders
    assert torch.equal(shuffled(100, seed=1, epoch=1), shuffled(100, seed=1, epoch=1))


def test_a_batch_without_targets_keeps_its_blocks():
    batch = RULE(random_ids(2), torch.arange(2), epoch=0)
    empty = batch.without_targets()
    assert torch.equal(empty.input_ids, batch.input_ids)
    assert len(empty.positions) == len(empty.targets) == 0
