"""What the text of a statement tells without a server: its result columns, what it compares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from stele.names import words
from stele.query_scan import SILENT, Kind, Token

_VERBS: Final = words("SELECT INSERT UPDATE DELETE MERGE VALUES TABLE")
_AFTER_LIST: Final = words(
    "FROM WHERE GROUP HAVING WINDOW UNION INTERSECT EXCEPT ORDER LIMIT OFFSET FETCH FOR INTO"
)
_WRITING: Final = words(
    """
    INSERT UPDATE DELETE MERGE TRUNCATE CALL DO COPY LOCK NOTIFY LISTEN UNLISTEN CREATE ALTER DROP
    GRANT REVOKE REFRESH REINDEX VACUUM ANALYZE EXPLAIN EXECUTE PREPARE DEALLOCATE SET RESET INTO
    COMMENT CLUSTER REASSIGN IMPORT SECURITY CHECKPOINT LOAD
    """
)
# Words that a parenthesis may follow without making them a function.
_GRAMMAR: Final = words(
    """
    ALL ANY AND ARRAY AS BETWEEN BY CASE CUBE DISTINCT ELSE END EXCEPT EXISTS FILTER FROM GROUP
    GROUPING HAVING IN INTERSECT INTERVAL IS JOIN LATERAL LIKE ILIKE LIMIT MATERIALIZED NOT OFFSET
    ON ONLY OR ORDER OVER PARTITION ROLLUP ROW SELECT SETS SIMILAR SOME TABLE THEN TO UNION USING
    VALUES WHEN WHERE WINDOW WITH WITHIN CAST COLLATE RETURNING
    """
)
# Functions of the server that surely write nothing.
_PURE: Final = words(
    """
    ABS AGE ARRAY_AGG ARRAY_APPEND ARRAY_CAT ARRAY_DIMS ARRAY_FILL ARRAY_LENGTH ARRAY_LOWER
    ARRAY_NDIMS ARRAY_POSITION ARRAY_POSITIONS ARRAY_PREPEND ARRAY_REMOVE ARRAY_REPLACE
    ARRAY_TO_JSON ARRAY_TO_STRING ARRAY_UPPER ASCII AVG BIT_AND BIT_LENGTH BIT_OR BOOL_AND BOOL_OR
    BTRIM CARDINALITY CEIL CEILING CHAR_LENGTH CHARACTER_LENGTH CHR CLOCK_TIMESTAMP COALESCE CONCAT
    CONCAT_WS CONVERT_FROM CONVERT_TO CORR COUNT CUME_DIST DATE_BIN DATE_PART DATE_TRUNC DECODE
    DENSE_RANK DIV ENCODE EVERY EXP EXTRACT FAMILY FIRST_VALUE FLOOR FORMAT GENERATE_SERIES
    GENERATE_SUBSCRIPTS GREATEST HOST INITCAP ISFINITE JSON_AGG JSON_ARRAY_ELEMENTS
    JSON_ARRAY_ELEMENTS_TEXT JSON_ARRAY_LENGTH JSON_BUILD_ARRAY JSON_BUILD_OBJECT JSON_EACH
    JSON_EACH_TEXT JSON_EXTRACT_PATH JSON_EXTRACT_PATH_TEXT JSON_OBJECT_AGG JSON_OBJECT_KEYS
    JSON_TYPEOF JSONB_AGG JSONB_ARRAY_ELEMENTS JSONB_ARRAY_ELEMENTS_TEXT JSONB_ARRAY_LENGTH
    JSONB_BUILD_ARRAY JSONB_BUILD_OBJECT JSONB_EACH JSONB_EACH_TEXT JSONB_EXTRACT_PATH
    JSONB_EXTRACT_PATH_TEXT JSONB_INSERT JSONB_OBJECT JSONB_OBJECT_AGG JSONB_OBJECT_KEYS
    JSONB_PATH_EXISTS JSONB_PATH_MATCH JSONB_PATH_QUERY JSONB_PATH_QUERY_ARRAY
    JSONB_PATH_QUERY_FIRST JSONB_PRETTY JSONB_SET JSONB_STRIP_NULLS JSONB_TO_RECORD
    JSONB_TO_RECORDSET JSONB_TYPEOF JUSTIFY_DAYS JUSTIFY_HOURS JUSTIFY_INTERVAL LAG LAST_VALUE LEAD
    LEAST LEFT LENGTH LN LOG LOWER LPAD LTRIM MAKE_DATE MAKE_INTERVAL MAKE_TIME MAKE_TIMESTAMP
    MAKE_TIMESTAMPTZ MASKLEN MAX MD5 MIN MOD MODE NETMASK NETWORK NOW NTH_VALUE NTILE NULLIF
    NUM_NONNULLS NUM_NULLS NUMERIC OCTET_LENGTH OVERLAY PERCENT_RANK PERCENTILE_CONT
    PERCENTILE_DISC PHRASETO_TSQUERY PLAINTO_TSQUERY POSITION POW POWER QUOTE_IDENT QUOTE_LITERAL
    RANDOM RANGE_AGG RANK REGEXP_MATCH REGEXP_MATCHES REGEXP_REPLACE REGEXP_SPLIT_TO_ARRAY
    REGEXP_SPLIT_TO_TABLE REPEAT REPLACE REVERSE RIGHT ROUND ROW_NUMBER ROW_TO_JSON RPAD RTRIM
    SETWEIGHT SHA256 SIGN SPLIT_PART SQRT STARTS_WITH STATEMENT_TIMESTAMP STDDEV STDDEV_POP
    STDDEV_SAMP STRING_AGG STRING_TO_ARRAY STRPOS SUBSTR SUBSTRING SUM TIMEZONE TO_CHAR
    TO_DATE TO_JSON TO_JSONB TO_NUMBER
    TO_TIMESTAMP TO_TSQUERY TO_TSVECTOR TRANSACTION_TIMESTAMP TRANSLATE TRIM TRUNC TS_HEADLINE
    TS_RANK TS_RANK_CD UNNEST UPPER VAR_POP VAR_SAMP VARCHAR VARIANCE WEBSEARCH_TO_TSQUERY
    WIDTH_BUCKET CHAR
    """
)


@dataclass(frozen=True, slots=True)
class Leveled:
    """A token that means something, and how many parentheses and brackets are around it."""

    token: Token
    depth: int

    @property
    def word(self) -> str:
        return self.token.text.upper() if self.token.kind is Kind.WORD else ""


@dataclass(frozen=True, slots=True)
class Item:
    """One expression of a result list."""

    tokens: tuple[Leveled, ...]

    @property
    def brace(self) -> str:
        """The alias of {alias.*}, if the item is that."""
        if len(self.tokens) != 1 or self.tokens[0].token.kind is not Kind.BRACE:
            return ""
        inner = self.tokens[0].token.text[1:-1].strip()
        return inner[:-2] if inner.endswith(".*") else ""

    @property
    def star(self) -> bool:
        """Whether it is `*` or `alias.*`."""
        texts = [one.token.text for one in self.tokens]
        return texts[-1:] == ["*"] and (len(texts) == 1 or texts[-2] == ".")


@dataclass(frozen=True, slots=True)
class Result:
    """The list of what comes back; `at` is where it begins."""

    items: tuple[Item, ...]
    at: int
    end: int


def leveled(tokens: Sequence[Token]) -> list[Leveled]:
    """The first branch of each choice, and every clause; directives stay, as marks of nothing."""
    found: list[Leveled] = []
    depth = 0
    for token in tokens:
        if token.kind in SILENT:
            continue
        if token.kind is Kind.MARK and token.text in ")]":
            depth -= 1
        found.append(Leveled(token, depth))
        if token.kind is Kind.MARK and token.text in "([":
            depth += 1
    return found


def result(tokens: Sequence[Token]) -> Result | None:
    """The result list of a statement; None when it is not to be seen from outside."""
    every = leveled(tokens)
    plain = [one for one in every if one.token.kind is not Kind.DIRECTIVE]
    start = _verb(plain)
    if start is None:
        return None
    verb = plain[start].word
    if verb == "SELECT":
        return _select(plain, start + 1)
    if verb in ("INSERT", "UPDATE", "DELETE", "MERGE"):
        return _returning(plain, start)
    return None


def _verb(plain: Sequence[Leveled]) -> int | None:
    """Where the statement's verb stands, behind the queries of its WITH."""
    if not plain:
        return None
    if plain[0].word in _VERBS:
        return 0
    if plain[0].word != "WITH":
        return None
    return next((i for i, one in enumerate(plain) if one.depth == 0 and one.word in _VERBS), None)


def _select(plain: Sequence[Leveled], at: int) -> Result:
    if at < len(plain) and plain[at].word in ("ALL", "DISTINCT"):
        at += 1
        if at < len(plain) and plain[at].word == "ON":
            at += 1
            while at < len(plain) and plain[at].depth > 0 or plain[at].token.text == "(":
                at += 1
            at += 1
    end = at
    while end < len(plain) and not _ends_list(plain, end):
        end += 1
    return _items(plain[at:end])


def _ends_list(plain: Sequence[Leveled], at: int) -> bool:
    one = plain[at]
    if one.depth or one.word not in _AFTER_LIST:
        return False
    before = plain[at - 1]
    if before.token.text == "." or before.word in ("AS", "WITHIN"):
        return False
    return not (one.word == "FROM" and before.word == "DISTINCT")


def _returning(plain: Sequence[Leveled], at: int) -> Result:
    for i in range(at, len(plain)):
        if plain[i].depth == 0 and plain[i].word == "RETURNING":
            return _items(plain[i + 1 :])
    return Result((), plain[at].token.at, plain[at].token.at)


def _items(plain: Sequence[Leveled]) -> Result:
    if not plain:
        return Result((), 0, 0)
    items: list[Item] = []
    current: list[Leveled] = []
    for one in plain:
        if one.depth == 0 and one.token.text == ",":
            items.append(Item(tuple(current)))
            current = []
        else:
            current.append(one)
    items.append(Item(tuple(current)))
    last = plain[-1].token
    return Result(tuple(items), plain[0].token.at, last.at + len(last.text))


def reads_only(tokens: Sequence[Token]) -> bool:
    """Whether it is certain that the statement stores nothing: no verb and no function may."""
    plain = [one for one in leveled(tokens) if one.token.kind is not Kind.DIRECTIVE]
    if not plain or plain[0].word not in ("SELECT", "WITH", "VALUES", "TABLE"):
        return False
    for i, one in enumerate(plain):
        following = plain[i + 1].token.text if i + 1 < len(plain) else ""
        before = plain[i - 1].token.text if i else ""
        if one.word in _WRITING and before != ".":
            return False
        if following == "(" and one.token.kind in (Kind.WORD, Kind.QUOTED):
            if before == "." or one.token.kind is Kind.QUOTED:
                return False
            if one.word not in _PURE and one.word not in _GRAMMAR and not _names_columns(plain, i):
                return False
    return True


def _names_columns(plain: Sequence[Leveled], at: int) -> bool:
    """Whether a name before a parenthesis is that of a WITH or an alias: name (columns)."""
    before = plain[at - 1].word if at else ""
    return before in ("WITH", "RECURSIVE", "AS") or (
        before == ""
        and at > 1
        and plain[at - 1].token.text == ","
        and plain[at].depth == 0
        and plain[0].word == "WITH"
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """alias.column on one side, a parameter on the other; `any` for = ANY(:param)."""

    alias: str
    column: str
    param: Token
    any: bool


def comparisons(tokens: Sequence[Token]) -> Iterator[Comparison]:
    """The plain ones: nothing else may stand on either side."""
    plain = leveled(tokens)
    for i, one in enumerate(plain):
        if one.token.kind is not Kind.PARAM:
            continue
        texts = [each.token.text for each in plain[max(0, i - 8) : i]]
        if not _ends_operand(plain, i + 1):
            if (right := _column_right(plain, i)) is not None and _begins_operand(plain, i):
                yield Comparison(*right, one.token, False)
            continue
        if [text.upper() for text in texts[-3:]] == ["=", "ANY", "("]:
            at = i - 3
            closes = i + 1 < len(plain) and plain[i + 1].token.text == ")"
            if closes and (left := _column_left(plain, at)) is not None:
                yield Comparison(*left, one.token, True)
        elif (at_operator := _operator_left(plain, i)) is not None:
            left = _column_left(plain, at_operator)
            if left is not None:
                yield Comparison(*left, one.token, False)


def limits(tokens: Sequence[Token]) -> Iterator[Token]:
    """Parameters that stand alone behind LIMIT or OFFSET."""
    plain = leveled(tokens)
    for i, one in enumerate(plain):
        behind = i > 0 and plain[i - 1].word in ("LIMIT", "OFFSET")
        if one.token.kind is Kind.PARAM and behind and _ends_operand(plain, i + 1):
            yield one.token


_OPERATORS: Final = ("=", "<>", "!=", "<=", ">=", "<", ">")


def _ends_operand(plain: Sequence[Leveled], at: int) -> bool:
    """Whether nothing more belongs to the operand that ended before `at`."""
    if at >= len(plain):
        return True
    token = plain[at].token
    return token.kind in (Kind.WORD, Kind.DIRECTIVE) or token.text in (")", ",", ";")


def _begins_operand(plain: Sequence[Leveled], at: int) -> bool:
    if at == 0:
        return True
    token = plain[at - 1].token
    return token.kind in (Kind.WORD, Kind.DIRECTIVE) or token.text in ("(", ",")


def _operator_left(plain: Sequence[Leveled], at: int) -> int | None:
    """Where the comparison operator before `at` begins; None if there is none."""
    texts = [plain[i].token.text for i in range(max(0, at - 2), at)]
    marks = [plain[i].token.kind is Kind.MARK for i in range(max(0, at - 2), at)]
    if len(texts) == 2 and all(marks) and "".join(texts) in _OPERATORS:
        return at - 2
    if texts and marks[-1] and texts[-1] in _OPERATORS:
        longer = len(texts) == 2 and marks[0] and texts[0] not in (")", "]")
        return None if longer else at - 1
    return None


def _column_left(plain: Sequence[Leveled], at: int) -> tuple[str, str] | None:
    """alias.column that ends before `at`."""
    if at < 3 or plain[at - 2].token.text != "." or not _begins_operand(plain, at - 3):
        return None
    return _column(plain[at - 3].token, plain[at - 1].token)


def _column_right(plain: Sequence[Leveled], at: int) -> tuple[str, str] | None:
    """alias.column behind a parameter and an operator."""
    start = at + 1
    while start < len(plain) and plain[start].token.text in ("=", "<", ">", "!"):
        start += 1
    text = "".join(plain[i].token.text for i in range(at + 1, start))
    if text not in _OPERATORS or start + 2 >= len(plain) or plain[start + 1].token.text != ".":
        return None
    if not _ends_operand(plain, start + 3):
        return None
    return _column(plain[start].token, plain[start + 2].token)


def _column(alias: Token, column: Token) -> tuple[str, str] | None:
    names = []
    for token in (alias, column):
        if token.kind is Kind.WORD:
            names.append(token.text.lower())
        elif token.kind is Kind.QUOTED:
            names.append(token.text[1:-1].replace('""', '"'))
        else:
            return None
    return names[0], names[1]


@dataclass(frozen=True, slots=True)
class Stored:
    """A parameter that an INSERT stores in a column."""

    table: str  # as in {table}
    column: str
    param: Token


def stored(tokens: Sequence[Token]) -> Iterator[Stored]:
    """INSERT INTO {table} (columns) VALUES (…), (…): items that are a parameter and no more."""
    plain = [one for one in leveled(tokens) if one.token.kind is not Kind.DIRECTIVE]
    for i, one in enumerate(plain):
        if one.word != "INTO" or i + 2 >= len(plain) or plain[i + 1].token.kind is not Kind.BRACE:
            continue
        columns, at = _group(plain, i + 2)
        if at >= len(plain) or plain[at].word != "VALUES":
            continue
        values: list[list[Leveled]]
        values, at = _group(plain, at + 1)
        while values:
            for column, value in zip(columns, values, strict=False):
                if len(column) == 1 and len(value) == 1 and value[0].token.kind is Kind.PARAM:
                    name = _column(column[0].token, column[0].token)
                    if name is not None:
                        yield Stored(plain[i + 1].token.text, name[1], value[0].token)
            if at >= len(plain) or plain[at].token.text != ",":
                break
            values, at = _group(plain, at + 1)


def _group(plain: Sequence[Leveled], at: int) -> tuple[list[list[Leveled]], int]:
    """The items of a parenthesis at `at`, and what follows it; none if there is no parenthesis."""
    if at >= len(plain) or plain[at].token.text != "(":
        return [], at
    depth = plain[at].depth
    items: list[list[Leveled]] = [[]]
    at += 1
    while at < len(plain) and plain[at].depth > depth:
        if plain[at].depth == depth + 1 and plain[at].token.text == ",":
            items.append([])
        else:
            items[-1].append(plain[at])
        at += 1
    return items, at + 1
