"""Names of the four tyings: one table, many spellings."""

import pytest
from hypothesis import given, strategies as st

from qkvlib import SHARINGS, Variant, parse_sharing, parse_variant


def test_the_table_says_what_is_projected_and_what_is_cached() -> None:
    facts = {s.name: (s.projections, s.cached, s.ties_query) for s in SHARINGS.values()}
    assert facts == {
        "QKV": (("q", "k", "v"), ("k", "v"), False),
        "Q=K-V": (("k", "v"), ("k", "v"), True),
        "Q-K=V": (("q", "k"), ("k",), False),
        "Q=K=V": (("k",), ("k",), True),
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Q-K=V", "Q-K=V"),
        ("q-k=v", "Q-K=V"),
        ("Q–K=V", "Q-K=V"),
        ("Q ≠ K = V", "Q-K=V"),
        ("Q != K = V", "Q-K=V"),
        ("(Q, K=V)", "Q-K=V"),
        ("q,k=v", "Q-K=V"),
        ("(Q=K, V)", "Q=K-V"),
        ("Q=K≠V", "Q=K-V"),
        ("q=k=v", "Q=K=V"),
        ("(Q=K=V)", "Q=K=V"),
        ("(Q, K, V)", "QKV"),
        ("qkv", "QKV"),
        ("Q-K-V", "QKV"),
        ("Q≠K≠V", "QKV"),
    ],
)
def test_every_spelling_is_read(text: str, name: str) -> None:
    assert parse_sharing(text).name == name
    assert parse_sharing(SHARINGS[name]) is SHARINGS[name]


@given(st.sampled_from(list(SHARINGS.values())), st.data())
def test_case_spaces_and_dashes_do_not_matter(sharing, data) -> None:
    form = data.draw(st.sampled_from([sharing.name, sharing.tuple_form]))
    dash = data.draw(st.sampled_from(["-", "–", "—", "−", "‑", "≠", " ≠ ", ", "]))
    cased = data.draw(st.sampled_from([str.upper, str.lower, str.title]))
    assert parse_sharing(cased(form.replace("-", dash).replace(", ", dash))) is sharing


@pytest.mark.parametrize("text", ["Q=V-K", "", "K=V", "Q-K-V-", "Q==K", "=", "((Q, K=V))"])
def test_unknown_sharings_are_refused_with_the_list(text: str) -> None:
    with pytest.raises(ValueError, match="Known names: QKV, Q=K-V, Q-K=V, Q=K=V"):
        parse_sharing(text)


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(ValueError, match="Did you mean 'Q-K=V'"):
        parse_sharing("Q-K=W")


@pytest.mark.parametrize(
    ("text", "expected", "tuple_form"),
    [
        ("QKV", ("QKV", None, False), "(Q, K, V)"),
        ("MQA", ("QKV", 1, False), "(Q, K, V) MQA"),
        ("GQA-4", ("QKV", 4, False), "(Q, K, V) GQA-4"),
        ("Q-MQA", ("Q-K=V", 1, False), "(Q, K=V) MQA"),
        ("Q-GQA-4", ("Q-K=V", 4, False), "(Q, K=V) GQA-4"),
        ("(Q=K-V)+", ("Q=K-V", None, True), "(Q=K, V)+"),
        ("(Q=K=V)+", ("Q=K=V", None, True), "(Q=K=V)+"),
        ("(Q-K=V)+ GQA-2", ("Q-K=V", 2, True), "(Q, K=V)+ GQA-2"),
        ("(QKV)+ MQA", ("QKV", 1, True), "(Q, K, V)+ MQA"),
    ],
)
def test_variants_are_read_and_printed(text: str, expected: tuple, tuple_form: str) -> None:
    variant = parse_variant(text)
    assert (variant.sharing.name, variant.n_kv_heads, variant.plus) == expected
    assert variant.name == text
    assert variant.tuple_form == tuple_form


@given(
    st.sampled_from(list(SHARINGS.values())),
    st.one_of(st.none(), st.integers(1, 64)),
    st.booleans(),
)
def test_names_survive_a_round_trip(sharing, n_kv_heads, plus) -> None:
    variant = Variant(sharing, n_kv_heads, plus)
    assert parse_variant(variant.name) == variant
    assert parse_variant(variant.tuple_form) == variant
    assert parse_variant(variant.name.lower()) == variant


@pytest.mark.parametrize("text", ["MQB", "GQA", "Q-GQA-x", "Z-MQA", "", "+"])
def test_unknown_variants_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unknown variant"):
        parse_variant(text)


def test_gqa_needs_a_head() -> None:
    with pytest.raises(ValueError, match="at least one KV head"):
        parse_variant("GQA-0")
