"""The command: arguments and exit codes, nothing else.

0: fine. 1: the input is at fault. 2: the environment is (a file, a missing package, a bug of ours).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from stele import __version__

if TYPE_CHECKING:
    from stele.diag import Diagnostic, Diagnostics
    from stele.model import Module, Schema

OK: Final = 0
FAULT: Final = 1
ENVIRONMENT: Final = 2

_PACKAGES: Final = frozenset({"jinja2", "markupsafe", "yaml"})


class CommandError(Exception):
    """Ends the command with one line and an exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Parser(argparse.ArgumentParser):
    """Wrong arguments are the input's fault."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(FAULT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    try:
        options = _parser().parse_args(arguments)
        run: Callable[[argparse.Namespace], int] = options.run
        code = run(options)
        sys.stdout.flush()
        return code
    except CommandError as error:
        print(f"stele: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:  # who read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"stele: {place}{error.strerror or error}", file=sys.stderr)
        return ENVIRONMENT
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            return _bug(error)
        print(
            f"stele: the Python package {error.name} is missing; on Debian: "
            "apt-get install python3-jinja2 python3-yaml",
            file=sys.stderr,
        )
        return ENVIRONMENT
    except Exception as error:
        return _bug(error)


def _bug(error: Exception) -> int:
    if os.environ.get("STELE_TRACEBACK"):
        traceback.print_exc()
    print(
        f"stele: internal error: {type(error).__name__}: {error}; please report it with the output "
        "of the same command under STELE_TRACEBACK=1",
        file=sys.stderr,
    )
    return ENVIRONMENT


# ---- arguments ----


def _parser() -> _Parser:
    parser = _Parser(
        prog="stele",
        description="Writes typed C and SQL for PostgreSQL from schema files.",
        epilog=(
            "examples:\n"
            "  stele init shop                      a new project that builds and runs\n"
            "  stele generate --out build schema    C for all schema files of a folder\n"
            "  stele check schema                   only look for mistakes\n"
            "  stele ddl schema/shop.yaml           the SQL that creates the tables\n"
            "  stele verify schema                  let a real server judge every statement\n"
            "  stele import books books.jsonl …     store the lines of a file\n"
            "\n"
            "exit codes: 0 fine, 1 the input is at fault, 2 the environment is"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stele {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_generate(commands)
    _add_check(commands)
    _add_ddl(commands)
    _add_verify(commands)
    _add_transfer(commands)
    _add_init(commands)
    return parser


if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[_Parser]


def _command(
    commands: _Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    description: str,
    examples: str,
) -> _Parser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_paths(parser: _Parser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="a schema file, or a folder of *.yaml",
    )


def _add_output(parser: _Parser) -> None:
    parser.add_argument(
        "--public",
        action="store_true",
        help="make the generated functions visible outside a shared library",
    )
    parser.add_argument("--sql", action="store_true", help="also MODULE.sql, the plain DDL")


def _add_generate(commands: _Commands) -> None:
    parser = _command(
        commands,
        "generate",
        _generate,
        "write the C for schema files",
        "Write MODULE.gen.h and MODULE.gen.c for each schema file. Files that are right already "
        "are not touched.",
        "  stele generate --out generated schema\n"
        "  stele generate --out build --depfile build/shop.d schema/shop.yaml\n"
        "  stele generate --list-outputs schema",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("generated"), metavar="DIR", help="where to [generated]"
    )
    parser.add_argument(
        "--depfile", type=Path, metavar="FILE", help="write a make rule with all inputs there"
    )
    _add_output(parser)
    parser.add_argument(
        "--list-outputs", action="store_true", help="print the names of the files, write nothing"
    )
    _add_paths(parser)


def _add_check(commands: _Commands) -> None:
    parser = _command(
        commands,
        "check",
        _check,
        "look for mistakes, and for outdated generated files",
        "Report all mistakes of the schema. With --generated also whether that folder holds what "
        "`stele generate` would write.",
        "  stele check schema\n"
        "  stele check --generated generated --sql schema\n"
        "  stele check --json schema/shop.yaml",
    )
    parser.add_argument(
        "--generated", type=Path, metavar="DIR", help="compare the files there, byte for byte"
    )
    _add_output(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    _add_paths(parser)


def _add_ddl(commands: _Commands) -> None:
    parser = _command(
        commands,
        "ddl",
        _ddl,
        "print the SQL that creates the tables",
        "Print the SQL that creates the tables, types and indexes.",
        "  stele ddl schema/shop.yaml | psql -1\n"
        "  stele ddl --schema tenant_a --prefix app1_ schema/shop.yaml\n"
        "  stele ddl --psql schema/shop.yaml >shop.psql; psql -1 -v schema=tenant_a -f shop.psql",
    )
    parser.add_argument("--schema", default="", help="the schema to create in [the search_path's]")
    parser.add_argument("--prefix", default="", help="what names begin with [nothing]")
    parser.add_argument(
        "--if-not-exists", action="store_true", help="leave alone what exists; may be run again"
    )
    parser.add_argument(
        "--psql",
        action="store_true",
        help="a script for psql, which takes the schema and the prefix as variables",
    )
    parser.add_argument(
        "--optional",
        metavar="NAME,…",
        default="",
        help="optional indexes to create too: table.index, *.index, or all [none]",
    )
    _add_paths(parser)


def _add_verify(commands: _Commands) -> None:
    parser = _command(
        commands,
        "verify",
        _verify,
        "let a real server judge every statement",
        "Create the schema on a server, prepare every statement that is generated from it, and "
        "compare what the server says with what is declared. Nothing is left in the database: all "
        "of it is one transaction that is never committed. Without --database a server of its own "
        "is started, and removed afterwards.",
        "  stele verify schema\n"
        "  stele verify --database postgresql:///mydb schema\n"
        "  stele verify --json schema/shop.yaml",
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        help="the database to use, also as key=value pairs; needs CREATE on it",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    _add_paths(parser)


def _add_transfer(commands: _Commands) -> None:
    from stele.transfer_cli import add_export, add_import

    add_import(
        _command(
            commands,
            "import",
            _import,
            "store the lines of a file in a table",
            "Store the lines of a file, JSON objects or CSV with a header, in a table. Values are "
            "checked against the schema before they are sent. Lines that cannot be stored are "
            "written to FILE.rejected.jsonl with the reason. Each batch is a transaction that also "
            "notes how far it came: run again, an import goes on where it stopped, and stores no "
            "line twice.",
            "  stele import customers customers.jsonl --database postgresql:///mydb\n"
            "  stele import prices prices.csv --on-conflict update --database postgresql:///mydb",
        )
    )
    add_export(
        _command(
            commands,
            "export",
            _export,
            "write the rows of a table as lines",
            "Write the rows of a table, in the order of its primary key, as JSON objects or CSV "
            "that `stele import` takes. Generated columns are left out.",
            "  stele export customers --database postgresql:///mydb >customers.jsonl\n"
            "  stele export customers --output customers.csv --database postgresql:///mydb",
        )
    )


def _add_init(commands: _Commands) -> None:
    parser = _command(
        commands,
        "init",
        _init,
        "make a small project that builds and runs at once",
        "Make a folder NAME with a small project: a schema, a meson.build and a main.c that build "
        "and run at once.",
        "  stele init shop\n"
        "  cd shop && meson setup build && meson compile -C build\n"
        "  STELE_DSN=postgresql:///mydb build/shop",
    )
    parser.add_argument("name", metavar="NAME", help="lower-case letters, digits, underscores")


# ---- commands ----


def _read(paths: Sequence[Path]) -> tuple[Schema | None, Diagnostics]:
    from stele.diag import Diagnostics
    from stele.frontend import read_schema

    for path in paths:
        if path.is_dir():
            next(path.iterdir(), None)  # raises if it cannot be listed
        else:
            path.open("rb").close()
    diags = Diagnostics()
    return read_schema(paths, diags), diags


def _read_or_fail(paths: Sequence[Path]) -> Schema:
    schema, diags = _read(paths)
    _report(diags)
    if schema is None:
        raise SystemExit(FAULT)
    return schema


def _outputs(schema: Schema, options: argparse.Namespace) -> dict[str, str]:
    from stele.ddl_text import DdlOptions, ddl_text
    from stele.lower import lower
    from stele.render import render

    files = render(lower(schema, options.public))
    if options.sql:
        for module in schema.modules:
            files[f"{module.name}.sql"] = ddl_text(module, DdlOptions())
    return files


def _names(module: Module, options: argparse.Namespace) -> list[str]:
    from stele.render import output_names

    return [*output_names(module.name), *([f"{module.name}.sql"] if options.sql else [])]


def _generate(options: argparse.Namespace) -> int:
    from stele.render import generator_files
    from stele.write import depfile_text, write_file, write_files

    schema = _read_or_fail(options.paths)
    names = [name for module in schema.modules for name in _names(module, options)]
    if options.list_outputs:
        print("\n".join(names))
        return OK
    _spare_queries(schema, options)
    write_files(options.out, _outputs(schema, options))
    if options.depfile:
        sources = [Path(module.span.path) for module in schema.modules]
        sources += [Path(module.query_path) for module in schema.modules if module.query_path]
        targets = [options.out / name for name in names]
        write_file(options.depfile, depfile_text(targets, [*sources, *generator_files()]))
    return OK


def _spare_queries(schema: Schema, options: argparse.Namespace) -> None:
    """The DDL of a module must not take the place of its queries."""
    for module in schema.modules:
        path = options.out / f"{module.name}.sql"
        if not options.sql or not module.query_path or not path.exists():
            continue
        if path.samefile(module.query_path):
            message = f"{path} holds the queries of the module: write to another folder"
            raise CommandError(FAULT, message)


def _check(options: argparse.Namespace) -> int:
    schema, diags = _read(options.paths)
    wrong: dict[str, list[str]] = {}
    if schema is not None and options.generated:
        from stele.write import compare_files

        wrong = compare_files(options.generated, _outputs(schema, options))
    failed = schema is None or any(wrong.values())
    refresh = _refresh_command(options)
    if options.json:
        findings = [_as_json(one) for one in diags.sorted()]
        result: dict[str, object] = {"ok": not failed, "diagnostics": findings}
        if options.generated:
            result["generated"] = {"findings": wrong, "refresh": refresh}
        print(json.dumps(result, indent=2, ensure_ascii=False))
        return FAULT if failed else OK
    _report(diags)
    for what, names in wrong.items():
        for name in names:
            print(f"{options.generated / name}: {what}", file=sys.stderr)
    if any(wrong.values()):
        print(f"refresh with: {refresh}", file=sys.stderr)
        if wrong["stale"]:
            print("and remove the stale files", file=sys.stderr)
    return FAULT if failed else OK


def _refresh_command(options: argparse.Namespace) -> str:
    import shlex

    words = ["stele", "generate"]
    words += ["--public"] if options.public else []
    words += ["--sql"] if options.sql else []
    words += ["--out", str(options.generated), *(str(path) for path in options.paths)]
    return shlex.join(words)


def _optional(names: str, schema: Schema) -> frozenset[str]:
    """The optional indexes that --optional names."""
    from stele.ddl_text import optional_indexes
    from stele.suggest import remedy

    known = [name for module in schema.modules for name in optional_indexes(module)]
    wanted: set[str] = set()
    for name in filter(None, map(str.strip, names.split(","))):
        every = name in ("all", "*")
        found = {one for one in known if every or one == name or f"*.{one.split('.')[1]}" == name}
        if not found and not every:
            hint = remedy(name, known, "optional index")
            raise CommandError(FAULT, f'--optional: no optional index is called "{name}"; {hint}')
        wanted |= found
    return frozenset(wanted)


def _ddl(options: argparse.Namespace) -> int:
    from stele.ddl_text import DdlOptions, ddl_text
    from stele.names import SQL_NAME_MAX, byte_length, is_identifier

    for what in ("schema", "prefix"):
        name = getattr(options, what)
        if name and (not is_identifier(name) or byte_length(name) > SQL_NAME_MAX):
            raise CommandError(
                FAULT, f'--{what} "{name}": use letters, digits and underscores, at most 63'
            )
    schema = _read_or_fail(options.paths)
    optional = _optional(options.optional, schema)
    chosen = DdlOptions(
        options.schema, options.prefix, options.if_not_exists, options.psql, optional
    )
    print("\n".join(ddl_text(module, chosen) for module in schema.modules), end="")
    return OK


def _verify(options: argparse.Namespace) -> int:
    from stele.verify_run import VerifyFailed, run_verify

    schema, diags = _read(options.paths)
    if schema is None and not options.json:
        _report(diags)
        return FAULT
    try:
        result = run_verify(schema, options.database, diags) if schema else None
    except VerifyFailed as error:
        raise CommandError(ENVIRONMENT, str(error)) from error
    if options.json:
        findings = [_as_json(one) for one in diags.sorted()]
        facts = result.as_json() if result else {}
        found: dict[str, object] = {"ok": not diags.failed, **facts, "diagnostics": findings}
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif result is not None:
        _report(diags)
        print(result.summary(diags))
    return FAULT if diags.failed else OK


def _import(options: argparse.Namespace) -> int:
    from stele.transfer_cli import TransferFailed, run_import

    try:
        return run_import(options, _read_or_fail)
    except TransferFailed as error:
        raise CommandError(error.code, str(error)) from error


def _export(options: argparse.Namespace) -> int:
    from stele.transfer_cli import TransferFailed, run_export

    try:
        return run_export(options, _read_or_fail)
    except TransferFailed as error:
        raise CommandError(error.code, str(error)) from error


def _init(options: argparse.Namespace) -> int:
    from stele.init import InitError, make_project

    try:
        files = make_project(Path(), options.name)
    except InitError as error:
        raise CommandError(FAULT, str(error)) from error
    for path in files:
        print(path)
    print(f"next: see {files[0].parent / 'README.md'}")
    return OK


# ---- findings ----


def _report(diags: Diagnostics) -> None:
    colour = _colour(sys.stderr.isatty())
    for one in diags.sorted():
        print(_painted(one) if colour else str(one), file=sys.stderr)


def _colour(terminal: bool) -> bool:
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _painted(one: Diagnostic) -> str:
    text = str(one)
    head = f"{one.path}:{one.line}:{one.column}:"
    kind = f"{one.severity}[{one.code}]:"
    colour = "31" if one.severity == "error" else "35"
    return text.replace(f"{head} {kind}", f"\033[1m{head}\033[0m \033[1;{colour}m{kind}\033[0m", 1)


def _as_json(one: Diagnostic) -> dict[str, object]:
    return {
        "path": one.path,
        "line": one.line,
        "column": one.column,
        "severity": one.severity,
        "code": one.code,
        "message": one.message,
        "hint": one.hint,
    }
