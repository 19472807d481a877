"""Names in C and in SQL: what must be escaped, what must be quoted, and how.

Shared by every phase. Nothing here depends on the server or on the locale.
"""

from __future__ import annotations

import re
from typing import Final


def words(text: str) -> frozenset[str]:
    """A set of words, written as text."""
    return frozenset(text.split())


C_KEYWORDS: Final[frozenset[str]] = words(
    """
    alignas alignof asm auto bool break case char const constexpr continue default do double else
    enum extern false float for fortran goto if inline int long nullptr register restrict return
    short signed sizeof static static_assert struct switch thread_local true typedef typeof
    typeof_unqual union unsigned void volatile while
    _Alignas _Alignof _Atomic _BitInt _Bool _Complex _Decimal128 _Decimal32 _Decimal64 _Generic
    _Imaginary _Noreturn _Static_assert _Thread_local
    """
)

CPP_KEYWORDS: Final[frozenset[str]] = words(
    """
    and and_eq bitand bitor catch char16_t char32_t char8_t class co_await co_return co_yield compl
    concept const_cast consteval constinit decltype delete dynamic_cast explicit export friend
    mutable namespace new noexcept not not_eq operator or or_eq private protected public
    reinterpret_cast requires static_cast template this throw try typeid typename using virtual
    wchar_t xor xor_eq
    """
)

# Words that C++20 takes for directives where they begin a line, as a type of a function does.
CPP_DIRECTIVES: Final[frozenset[str]] = words("import module")

# Object-like macros in lower case, predefined or from headers that a program may include; and the
# typedefs that generated structs use (a member of such a name breaks the struct in C++).
C_MACROS: Final[frozenset[str]] = words(
    """
    complex environ errno h_addr h_errno i386 imaginary linux math_errhandling noreturn
    s6_addr s6_addr16 s6_addr32 sa_handler sa_sigaction sched_priority si_addr si_addr_lsb si_arch
    si_band si_call_addr si_fd si_int si_lower si_overrun si_pid si_pkey si_ptr si_status si_stime
    si_syscall si_timerid si_uid si_upper si_utime si_value sigev_notify_attributes
    sigev_notify_function signal st_atime st_ctime st_mtime stderr stdin stdout unix vector pixel
    NULL EOF BUFSIZ CHAR_BIT INFINITY NAN I SIGINT SIGTERM
    int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t ptrdiff_t offsetof
    assert
    """
)

# Functions and types of the C library at file scope: a generated type of such a name clashes.
C_LIBRARY: Final[frozenset[str]] = words(
    """
    abort abs accept access acos acosh alarm alloca asctime asin asinh atan atan2 atanh atexit atof
    atoi atol atoll bcmp bcopy bind bsearch bzero calloc cbrt ceil chdir chmod chown chroot
    clearenv clock clone close connect copysign cos cosh creat ctime daemon difftime div div_t
    double_t dup dup2 dup3 erand48 erf erfc execl execv exit exp exp2 exp10 expm1 fabs fclose
    fcntl fdim fdopen feof ferror fflush ffs fgetc fgets fileno float_t floor fma fmax fmin fmod
    fopen fork fprintf fputc fputs fread free freopen frexp fscanf fseek fsync ftell ftruncate
    fwrite gamma getc getchar getenv getline getopt gets getw gmtime hypot ilogb index initstate
    ioctl isalnum isalpha isatty isdigit islower isspace isupper isxdigit j0 j1 jn jrand48 kill
    killpg labs lchown ldexp ldiv lgamma link linkat listen llabs lldiv localtime lockf log log10
    log1p log2 logb logf longjmp lrand48 lseek malloc mblen memchr memcmp memcpy memmem memmove
    memset mkdir mkfifo mknod mktime mmap modf mount mrand48 nan nanosleep nearbyint nice open
    openat optarg opterr optind optopt pause perror pipe poll pow pread printf ptrace putc putchar
    putenv puts pwrite qsort quick_exit raise rand random read readdir readlink realloc recv
    remainder remove remquo rename rewind rindex rint rmdir round sbrk scalb scanf seed48 select
    send setbuf setenv setjmp setsid setstate shutdown sigaction sigevent siginfo_t significand
    sigval sin sinh sleep snprintf socket splice sprintf sqrt srand srandom sscanf stat stpcpy
    strcat strchr strcmp strcpy strdup strftime strlen strstr strtod strtok strtol swab swapoff
    swapon symlink sync syscall sysconf system tan tanh tee tempnam tgamma time time_t timer_t
    timespec timeval times timezone tm tmpfile tmpnam tolower toupper trunc truncate ttyname tzname
    tzset umask umount uname ungetc unlink unsetenv usleep utime valloc vfork vprintf wait waitpid
    write y0 y1 yn daylight signgam ssize_t off_t pid_t uid_t gid_t mode_t key_t id_t dev_t ino_t
    clock_t clockid_t locale_t FILE DIR fpos_t ldiv_t lldiv_t wint_t intmax_t uintmax_t intptr_t
    uintptr_t suseconds_t useconds_t socklen_t in_addr_t in_port_t sigset_t jmp_buf va_list uint
    ushort ulong quad_t u_char u_short u_int u_long caddr_t
    """
)

# Parameters that generated functions have of their own.
C_PARAMETERS: Final[frozenset[str]] = words(
    """
    args base buf conn count deleted_before err filter flags input inputs inserted iter key label
    limit list options page patch pipeline result ret ret_count ret_exists ret_id ret_inserted
    ret_iter ret_row row rows size slot st stmt token user value
    """
)

# Everything pg_get_keywords() of PostgreSQL 14 to 18 does not call unreserved. Those of the class
# "cannot be function or type" could stand bare as a column; quote_ident() quotes them too.
SQL_RESERVED: Final[frozenset[str]] = words(
    """
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit
    boolean both case cast char character check coalesce collate collation column concurrently
    constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user dec decimal default deferrable desc distinct do else end except
    exists extract false fetch float for foreign freeze from full grant greatest group grouping
    having ilike in initially inner inout int integer intersect interval into is isnull join
    json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar
    json_serialize json_table json_value lateral leading least left like limit localtime
    localtimestamp merge_action national natural nchar none normalize not notnull null nullif
    numeric offset on only or order out outer overlaps overlay placing position precision primary
    real references returning right row select session_user setof similar smallint some substring
    symmetric system_user table tablesample then time timestamp to trailing treat trim true union
    unique user using values varchar variadic verbose when where window with xmlattributes
    xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize
    xmltable
    """
)

# Columns that every table has already.
SQL_SYSTEM_COLUMNS: Final[frozenset[str]] = words("cmax cmin ctid tableoid xmax xmin")

SQL_NAME_MAX: Final[int] = 63  # bytes; the server cuts longer names silently

# Characters that show text in another order than a compiler reads it; gcc warns of them.
TURNS_TEXT: Final[str] = "[\u202a-\u202e\u2066-\u2069]"

IDENTIFIER: Final[re.Pattern[str]] = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_SQL: Final[re.Pattern[str]] = re.compile(r"[a-z_][a-z0-9_]*")
_ESCAPED_FIELD: Final[frozenset[str]] = C_KEYWORDS | CPP_KEYWORDS | C_MACROS
# A parameter must not shadow a global, nor be another parameter.
_ESCAPED_GLOBAL: Final[frozenset[str]] = _ESCAPED_FIELD | C_LIBRARY | C_PARAMETERS | CPP_DIRECTIVES


def is_identifier(name: str) -> bool:
    """Whether a name can stand in C and, quoted or not, in SQL."""
    return IDENTIFIER.fullmatch(name) is not None


def c_ident(name: str) -> str:
    """A name as a struct member or local variable: keywords and macros get an underscore.

    So do names of our own types, which the struct may use.
    """
    return f"{name}_" if name in _ESCAPED_FIELD or name.startswith("stele_") else name


def c_global(name: str) -> str:
    """A name at file scope or a parameter: clear of the C library, too, and of each other."""
    return f"{name}_" if name in _ESCAPED_GLOBAL else name


def upper_ident(name: str) -> str:
    """The part of a constant's name that stands for `name`: `in-progress` gives IN_PROGRESS.

    Empty if nothing of the name can stand in C. ASCII only, whatever the locale.
    """
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").upper()


def sql_ident(name: str) -> str:
    """A name in SQL, quoted only when it must be."""
    if _PLAIN_SQL.fullmatch(name) and name not in SQL_RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """An SQL string literal that means the same whatever standard_conforming_strings says."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def too_long(what: str, name: str) -> tuple[str, str]:
    """What to say of a name that the server never sees, and what to do."""
    return f"the name of this {what} is {len(name)} bytes long", f"use at most {SQL_NAME_MAX}"


def byte_length(name: str) -> int:
    """Length as the server counts it for names and labels."""
    return len(name.encode())
