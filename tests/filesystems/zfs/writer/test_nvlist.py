"""What is packed is read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from osvlab.filesystems.zfs.nvlist import parse_nvlist, values_of
from osvlab.filesystems.zfs.writer.nvlist import Value, pack_nvlist

keys = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
plain: st.SearchStrategy[Value] = st.one_of(
    st.integers(0, 2**64 - 1), st.text(st.characters(codec="utf-8"), max_size=40), st.just(True)
)
lists = st.recursive(
    st.dictionaries(keys, plain, max_size=4),
    lambda inner: st.dictionaries(keys, st.one_of(plain, inner, st.lists(inner, max_size=3)), max_size=4),
    max_leaves=12,
)


@given(lists)
def test_lists_come_back(values: dict[str, Value]) -> None:
    packed = pack_nvlist(values)
    assert len(packed) % 4 == 0
    assert values_of(parse_nvlist(packed)) == values
