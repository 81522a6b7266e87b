"""`--where`: which of a catalogue's rows are wanted, as an expression of its columns.

`MAG_AUTO_R < 21.5 and EXTENDED_CLASS_COADD == 3` is parsed, never executed, and becomes an Arrow expression, which
Parquet's reader uses to leave out what need not be read.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import pyarrow as pa
import pyarrow.compute as pc

from morph.decision_tree import ANSWERS, TREE, column_name
from morph.errors import InputError

NUMBER, TEXT, TRUTH = "a number", "text", "true or false"

_COMPARISONS: dict[type[ast.cmpop], Callable] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
_ARITHMETIC: dict[type[ast.operator], Callable] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    # In Arrow a quotient of whole numbers is a whole number.
    ast.Div: lambda a, b: a.cast(pa.float64()) / b.cast(pa.float64()),
    ast.Pow: lambda a, b: pc.power(a.cast(pa.float64()), b),
}
_FUNCTIONS: dict[str, Callable] = {
    "abs": pc.abs,
    "log10": lambda a: pc.log10(a.cast(pa.float64())),
    "sqrt": lambda a: pc.sqrt(a.cast(pa.float64())),
}
_EXAMPLE = "MAG_AUTO_R < 21.5 and EXTENDED_CLASS_COADD == 3"


@dataclass(frozen=True)
class Where:
    """A selection from tables of one schema: an Arrow expression, and the columns that it needs."""

    value: pc.Expression
    columns: tuple[str, ...]

    def __and__(self, other: "Where") -> "Where":
        return Where(self.value & other.value, tuple(dict.fromkeys((*self.columns, *other.columns))))


@dataclass(frozen=True)
class _Part:
    """A part of an expression, and what it is: NUMBER, TEXT or TRUTH. `written` is how the user wrote it."""

    value: pc.Expression
    kind: str
    written: str


class Selection:
    """Which rows are wanted.

    Comparisons (also chained: `18 < r < 21`), `and`, `or`, `not`, `in (1, 2)`, `+ - * / **`, `abs`, `log10`, `sqrt`,
    `isnan(a)` (also true where there is no value), `between(a, low, high)`; columns whatever their case. A row where
    a value that is compared is missing is not wanted. Questions and answers may be written with Galaxy Zoo's hyphens,
    and an answer that one question alone has by itself: `smooth`, `spiral_winding_tight` as `tight`.

    Raises InputError when the text is not such an expression.
    """

    def __init__(self, text: str):
        self.text = text.strip()
        try:
            self._tree = ast.parse(_lower_words(_underscored(self.text)), mode="eval").body
        except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError):
            raise InputError(
                f"--where '{self.text}' cannot be understood; write comparisons with ==, <, >= and so on, joined by "
                f"and, or, not, such as '{_EXAMPLE}'."
            ) from None

    def __repr__(self) -> str:
        return f"Selection({self.text!r})"

    def replacing(self, column: str, condition: str) -> "Selection":
        """The selection with the conditions on one column alone replaced by another; it is added where there are none.

        Only conditions that are joined by `and` are replaced: within an `or` one cannot be taken out.

        >>> Selection("smooth > 0.8 and 0.1 < redshift < 0.2").replacing("smooth_or_featured_smooth", "smooth > 0.5")
        Selection('0.1 < redshift < 0.2 and smooth > 0.5')

        Parameters
        ----------
        column : as the table has it; an answer may be written shorter in the selection.
        condition : instead.
        """
        joined = isinstance(self._tree, ast.BoolOp) and isinstance(self._tree.op, ast.And)
        parts = self._tree.values if joined else [self._tree]  # type: ignore[attr-defined]
        kept = [part for part in parts if {answer_column(name).lower() for name in _names(part)} != {column.lower()}]
        texts = [f"({_words(part)})" if isinstance(part, ast.BoolOp) else _words(part) for part in kept]
        return Selection(" and ".join([*texts, condition]))

    def of(self, schema: pa.Schema, table: str = "the catalogue") -> Where:
        """The selection from a table with these columns.

        Raises InputError for a column that is not there, a part that is not understood, or a comparison of text with a
        number; `table` is what its sentence calls the table.
        """
        reader = _Reader(schema, table, self.text)
        try:
            part = reader.read(self._tree)
        except RecursionError:
            raise InputError("--where is nested too deeply; write it with fewer brackets.") from None
        if part.kind != TRUTH:
            raise InputError(f"--where '{self.text}' is {part.kind}, not a condition; compare it, as in '{_EXAMPLE}'.")
        return Where(part.value, tuple(reader.used))


#: Answers that one question alone has, and their columns: `smooth` is `smooth_or_featured_smooth`.
_COUNTS = Counter(answer for question in TREE for answer in question.answers)
_SHORT = {
    column_name(answer): column_name(f"{question.name}_{answer}")
    for question in TREE
    for answer in question.answers
    if _COUNTS[answer] == 1
}


def answer_column(name: str) -> str:
    """The column of an answer that only one question has, by its short name; any other name as it is.

    >>> answer_column("smooth"), answer_column("yes")
    ('smooth_or_featured_smooth', 'yes')
    """
    return _SHORT.get(name.lower(), name)


def _names(node: ast.expr) -> set[str]:
    """The columns that a part of an expression names."""
    functions = {id(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and id(each) not in functions}


#: Quoted text, which stays as it is, and the names of answers and questions; the longest first, or a part would match.
_HYPHENS = {name for name in (*ANSWERS, *(question.name for question in TREE)) if "-" in name}
_HYPHENED = re.compile("|".join([r"'[^']*'", r'"[^"]*"', *map(re.escape, sorted(_HYPHENS, key=len, reverse=True))]))


def _underscored(text: str) -> str:
    """The names of questions and answers as columns have them: hyphens would be minus signs."""
    return _HYPHENED.sub(lambda match: match[0] if match[0][0] in "'\"" else column_name(match[0]), text)


def _lower_words(text: str) -> str:
    """SQL's AND, OR, NOT and IN as Python writes them."""
    tokens = [
        (kind, word.lower() if kind == tokenize.NAME and word in ("AND", "OR", "NOT", "IN") else word)
        for kind, word, *_ in tokenize.generate_tokens(io.StringIO(text).readline)
    ]
    return tokenize.untokenize(tokens).strip()


class _Reader:
    """Turns a tree of Python's grammar into Arrow's expression, and refuses all that is not listed here."""

    def __init__(self, schema: pa.Schema, table: str, text: str):
        self.schema, self.table, self.text = schema, table, text
        # Of two columns that differ in their case alone the first counts, unless the case is given.
        self.columns = {name.lower(): name for name in reversed(schema.names)} | {name: name for name in schema.names}
        self.used: dict[str, None] = {}

    def read(self, node: ast.expr) -> _Part:
        match node:
            case ast.BoolOp(op=op, values=values):
                return self._joined(op, [self._of_kind(value, TRUTH) for value in values], node)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return _Part(~self._of_kind(operand, TRUTH), TRUTH, _words(node))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _Part(pc.negate(self._of_kind(operand, NUMBER)), NUMBER, _words(node))
            case ast.Compare():
                return self._compared(node)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                a, b = self._of_kind(left, NUMBER), self._of_kind(right, NUMBER)
                return _Part(_ARITHMETIC[type(op)](a, b), NUMBER, _words(node))
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr()):
                raise InputError("--where joins conditions by `and` and `or`, not by & and |.")
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._called(name.lower(), args, node)
            case ast.Name(id=name):
                return self._column(name)
            case ast.Constant(value=bool() as value):
                return _Part(pc.scalar(value), TRUTH, _words(node))
            case ast.Constant(value=int() | float() as value) if abs(value) < 2**63:
                return _Part(pc.scalar(value), NUMBER, _words(node))
            case ast.Constant(value=str() as value):
                return _Part(pc.scalar(value), TEXT, _words(node))
        raise InputError(
            f"--where cannot use '{_words(node)}'; there are columns, numbers, 'text', comparisons, and, or, not, in, "
            f"+ - * / **, {', '.join(_FUNCTIONS)}, isnan and between."
        )

    def _of_kind(self, node: ast.expr, kind: str) -> pc.Expression:
        part = self.read(node)
        if part.kind != kind:
            raise InputError(f"--where '{self.text}': '{part.written}' is {part.kind}, where {kind} belongs.")
        return part.value

    def _joined(self, op: ast.boolop, values: list[pc.Expression], node: ast.expr) -> _Part:
        whole = values[0]
        for value in values[1:]:
            whole = whole & value if isinstance(op, ast.And) else whole | value
        return _Part(whole, TRUTH, _words(node))

    def _compared(self, node: ast.Compare) -> _Part:
        sides = [node.left, *node.comparators]
        parts = [self._member(*pair) for pair in zip(sides, node.ops, sides[1:], strict=False)]
        return self._joined(ast.And(), parts, node)

    def _member(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pc.Expression:
        a = self.read(left)
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.Tuple, ast.List, ast.Set)) or not right.elts:
                raise InputError(f"--where '{self.text}': after `in` belongs a list such as (1, 2).")
            equal = [self._equal(a, self.read(item)) for item in right.elts]
            found = self._joined(ast.Or(), equal, right).value
            return ~found if isinstance(op, ast.NotIn) else found
        a, b = self._alike(a, self.read(right))
        if type(op) not in _COMPARISONS:
            raise InputError(f"--where '{self.text}': use == and != where you wrote `is`, and isnan(...) for a gap.")
        return _COMPARISONS[type(op)](a.value, b.value)

    def _equal(self, a: _Part, b: _Part) -> pc.Expression:
        a, b = self._alike(a, b)
        return a.value == b.value

    def _alike(self, a: _Part, b: _Part) -> tuple[_Part, _Part]:
        """Two parts that can be compared; what is true counts as 1 beside a number."""
        if {a.kind, b.kind} == {NUMBER, TRUTH}:
            a, b = (_Part(p.value.cast(pa.int64()), NUMBER, p.written) if p.kind == TRUTH else p for p in (a, b))
        if a.kind != b.kind:
            raise InputError(
                f"--where '{self.text}' compares '{a.written}', which is {a.kind}, with '{b.written}', "
                f"which is {b.kind}."
            )
        return a, b

    def _called(self, name: str, args: list[ast.expr], node: ast.Call) -> _Part:
        if name in _FUNCTIONS and len(args) == 1:
            return _Part(_FUNCTIONS[name](self._of_kind(args[0], NUMBER)), NUMBER, _words(node))
        if name == "isnan" and len(args) == 1:
            return _Part(self.read(args[0]).value.is_null(nan_is_null=True), TRUTH, _words(node))
        if name == "between" and len(args) == 3:
            value, low, high = (self._of_kind(arg, NUMBER) for arg in args)
            return _Part((value >= low) & (value <= high), TRUTH, _words(node))
        raise InputError(
            f"--where cannot call '{_words(node)}'; there are {', '.join(f'{f}(a)' for f in _FUNCTIONS)}, isnan(a) "
            "and between(a, low, high)."
        )

    def _column(self, name: str) -> _Part:
        column = next(
            (self.columns[each] for each in (name, name.lower(), answer_column(name)) if each in self.columns), None
        )
        if column is None:
            near = get_close_matches(name.lower(), [known.lower() for known in self.schema.names], 3, 0.6)
            hint = " or ".join(f"'{self.columns[known]}'" for known in near)
            listed = ", ".join(self.schema.names[:12])
            more = ", ..." if len(self.schema.names) > 12 else ""
            raise InputError(
                f"There is no column '{name}' in {self.table} to choose by; "
                + (f"did you mean {hint}?" if hint else f"it has {listed}{more}.")
            )
        self.used[column] = None
        kind = self.schema.field(column).type
        if pa.types.is_boolean(kind):
            return _Part(pc.field(column), TRUTH, name)
        if pa.types.is_dictionary(kind):
            return _Part(pc.field(column).cast(pa.string()), TEXT, name)
        if pa.types.is_decimal(kind):
            return _Part(pc.field(column).cast(pa.float64()), NUMBER, name)
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return _Part(pc.field(column), NUMBER, name)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            # Surveys pad text to a column's width.
            return _Part(pc.utf8_trim_whitespace(pc.field(column)), TEXT, name)
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return _Part(pc.utf8_trim_whitespace(pc.field(column).cast(pa.string())), TEXT, name)
        raise InputError(f"--where cannot use column '{name}' of {self.table}, which holds {kind}.")


def _words(node: ast.expr) -> str:
    return ast.unparse(node)
