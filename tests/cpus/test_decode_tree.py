"""Decision trees against trying every pattern."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.cpus.decode_tree import Leaf, Node, build_tree, find
from gasang.cpus.pattern import parse_pattern


@st.composite
def pattern_texts(draw: st.DrawFn) -> str:
    """A 16-bit pattern of random literal and operand bits."""
    bits = [draw(st.sampled_from("01x")) for _ in range(16)]
    return " ".join(f"{'abcdefghijklmnop'[place]}:1" if bit == "x" else bit for place, bit in enumerate(bits))


@settings(max_examples=60)
@given(st.lists(pattern_texts(), min_size=1, max_size=24, unique=True), st.lists(st.integers(0, 0xFFFF), max_size=30))
def test_the_tree_finds_what_a_search_finds(texts: list[str], words: list[int]) -> None:
    patterns = [parse_pattern(text) for text in texts]
    tree = build_tree(patterns)
    for word in [*words, *(pattern.match for pattern in patterns)]:
        taking = [index for index, pattern in enumerate(patterns) if pattern.matches(word)]
        best = max((patterns[index].mask.bit_count() for index in taking), default=0)
        found = find(tree, patterns, word)
        assert found in taking if taking else found is None
        assert found is None or patterns[found].mask.bit_count() == best


def test_a_pattern_stands_in_one_leaf_only() -> None:
    patterns = [parse_pattern(f"{number:04b} a:10 01") for number in range(16)]
    tree = build_tree(patterns)
    leaves: list[int] = []

    def collect(part: Node | Leaf) -> None:
        if isinstance(part, Leaf):
            leaves.extend(part.patterns)
            return
        for child in part.children:
            collect(child)

    collect(tree)
    assert sorted(leaves) == list(range(16))


def test_the_more_specific_pattern_wins_whatever_the_order() -> None:
    general, special = parse_pattern("000 a:11 01"), parse_pattern("000 00000000000 01")
    for patterns in ([general, special], [special, general]):
        found = find(build_tree(patterns), patterns, special.match)
        assert found is not None
        assert patterns[found] is special
