#!/usr/bin/env python3
"""Captures the seed corpora of the fuzz targets from real servers.

    fuzz/capture_corpus.py [MAJOR ...]      default: 10 15 18, those that are installed

Each file of corpus/pgoutput and corpus/assembler is a run of messages as pgoutput wrote them, each
with its length in front (four bytes, big-endian). Files of corpus/copy_text are one byte, the count
of columns, and COPY's text; files of corpus/value are one byte, the place of the type in
value_fuzz.cc, and one value. Run it again when a scenario is added; test/postgres/corpus_test.cc
replays all files.
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "test" / "support"))
from private_postgres import PrivatePostgres  # noqa: E402

SESSION = """
set datestyle = iso; set intervalstyle = postgres; set timezone = utc; set extra_float_digits = 3;
set bytea_output = hex;
"""

SCHEMA = """
create table plain (id int8 primary key, quantity int4, name text, at timestamptz, price numeric(12,2));
create table whole (id int4, v text, primary key (id));
alter table whole replica identity full;
create table by_index (a int not null, b text not null, c int);
create unique index by_index_b on by_index (b);
alter table by_index replica identity using index by_index_b;
create table parent (id int primary key);
create table child (id int primary key, parent int references parent);
create type mood as enum ('sad', 'ok');
create domain percent as numeric(5,2) check (value between 0 and 100);
create table odd ("a ""quoted"" name" mood primary key, p percent, pair point, i interval);
create table toasted (id int primary key, n int, big text);
alter table toasted alter big set storage external;
create table kinds (
  id int primary key, b bool, s int2, l int8, o oid, r float4, d float8, n numeric, n2 numeric(38,10),
  t text, c char(5), j json, jb jsonb, y bytea, dt date, ti time, ts timestamp, tz timestamptz,
  u uuid, ai int[], at text[], an numeric(6,2)[], ab bytea[], bx box[], iv interval, net inet);
create publication p for all tables;
"""

CHANGES = """
begin;
insert into plain select g, g * 7, 'name ' || g, '2026-11-21 10:00:00+00'::timestamptz + g * interval '1.000001 s', g * 1.25
  from generate_series(1, 5) g;
update plain set quantity = 0 where id = 1;
update plain set id = 100 where id = 2;
delete from plain where id = 3;
commit;
insert into whole values (1, 'a'), (2, null);
update whole set v = 'b' where id = 1;
delete from whole;
insert into by_index values (1, 'x', 2);
update by_index set a = 2;
update by_index set b = 'y';
delete from by_index;
insert into parent values (1); insert into child values (1, 1);
truncate parent restart identity cascade;
insert into odd values ('ok', 12.5, '(1,2)', '1 mon -2 days');
insert into toasted values (1, 1, repeat('0123456789', 1000));
update toasted set n = 2;
update toasted set id = 2;
begin;
insert into plain values (7, 1, 'before', null, null);
alter table plain add column more int default 5;
insert into plain values (8, 1, 'after', 'epoch', 'NaN', 6);
alter table plain drop column quantity;
insert into plain values (9, 'later', '-infinity', 1, 6);
savepoint a; insert into plain values (10, 'undone', null, null, null); rollback to a;
commit;
analyze plain;
update plain set name = 'again' where id = 9;
"""

KINDS = """
insert into kinds values
 (1, true, -32768, 9223372036854775807, 4294967295, 'NaN', '-0', 'NaN', 1234567890123456789012345678.0123456789,
  E'tab\\t newline\\n back\\\\slash \\u00e9\\U0001F600', 'ab', '{"a": [1, null]}', '{"b": "x"}', '\\x00ff10',
  '0044-03-15 BC', '24:00:00', '294276-12-31 23:59:59.999999', '4713-11-24 00:00:00+00 BC',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{1,NULL,-3}', '{"a,b","NULL",NULL,"","q\\"\\\\"}', '{1.5,NaN}',
  '{"\\\\xab"}', '{(2,2),(0,0);(1,1),(0,0)}', '1 mon -2 days +03:04:05.6', '10.0.0.1/8'),
 (2, false, 7, -1, 0, '1e-45', '1.7976931348623157e308', '-123456.789', -0.0000000001, '', '', '1', 'null', '\\x',
  'infinity', '00:00:00.000001', '-infinity', '12026-01-02 03:04:05.5+00', null, '{}', '{}', '{{1,2},{3,4}}',
  null, null, null, '::1'),
 (3, null, null, null, null, null, null, null, null, null, null, null, null, null, '5874897-12-31', null, null, null,
  null, '[0:1]={1,2}', '{{a}}', null, null, null, '1 year', null);
"""

MESSAGES = """
select pg_logical_emit_message(false, 'outside', 'hello');
begin;
insert into whole values (50, 'x');
select pg_logical_emit_message(true, 'inside', 'transactional');
select pg_logical_emit_message(false, 'inside', 'not transactional');
commit;
begin; select pg_logical_emit_message(false, 'aborted', 'arrives all the same'); rollback;
"""

ORIGIN = """
select pg_replication_origin_create('elsewhere');
select pg_replication_origin_session_setup('elsewhere');
begin;
select pg_replication_origin_xact_setup('0/AABBCC', '2026-01-01 00:00:00+00');
insert into whole values (60, 'from elsewhere');
commit;
select pg_replication_origin_session_reset();
"""

LARGE = """
begin;
insert into whole select g, repeat('x', 100) from generate_series(1000, 1400) g;
savepoint s;
insert into whole select g, repeat('y', 100) from generate_series(2000, 2400) g;
rollback to s;
insert into whole select g, repeat('z', 100) from generate_series(3000, 3100) g;
commit;
begin;
insert into whole select g, repeat('a', 100) from generate_series(5000, 5450) g;
rollback;
"""

TWO_PHASE = """
begin; insert into whole values (70, 'kept'); prepare transaction 'keep';
commit prepared 'keep';
begin; insert into whole values (71, 'undone'); prepare transaction 'undo';
rollback prepared 'undo';
begin; insert into whole select g, repeat('p', 200) from generate_series(7000, 7300) g; prepare transaction 'big';
commit prepared 'big';
"""

# name, SQL, options of pgoutput, first major that knows them
SCENARIOS = [
    ("changes", CHANGES, {"proto_version": 1}, 10),
    ("kinds", KINDS, {"proto_version": 1}, 10),
    ("origin", ORIGIN, {"proto_version": 1}, 10),
    ("messages", MESSAGES, {"proto_version": 1, "messages": "true"}, 14),
    ("binary", CHANGES, {"proto_version": 1, "binary": "true"}, 14),
    ("streamed", LARGE + MESSAGES, {"proto_version": 2, "streaming": "on", "messages": "true"}, 14),
    ("two_phase", TWO_PHASE, {"proto_version": 3, "streaming": "on"}, 15),
    ("parallel", LARGE, {"proto_version": 4, "streaming": "parallel"}, 16),
]

# As value_fuzz.cc counts its types.
VALUES = {
    "bool": (0, ["t", "f"]),
    "int16": (1, ["-32768", "0", "32767"]),
    "int32": (2, ["2147483647", "-2147483648"]),
    "int64": (3, ["-9223372036854775808", "1234567890123456"]),
    "uint32": (4, ["4294967295"]),
    "float32": (5, ["NaN", "1e-45", "3.4028235e+38"]),
    "float64": (6, ["-Infinity", "-0", "0.1", "5e-324"]),
    "decimal": (7, ["-1234567890.12", "0.00", "NaN"]),
    "wide_decimal": (8, ["1234567890123456789012345678.0123456789"]),
    "text": (9, ["", "héllo 😀"]),
    "bytes": (10, ["\\x00ff", "\\x"]),
    "date": (11, ["2026-11-21", "0044-03-15 BC", "5874897-12-31", "infinity"]),
    "time": (12, ["23:59:59.999999", "24:00:00"]),
    "timestamp": (13, ["2026-11-21 10:11:12.5", "294276-12-31 23:59:59.999999"]),
    "timestamptz": (14, ["2026-11-21 10:11:12.123456+00", "1890-01-01 00:00:00+00:19:32 BC"]),
    "uuid": (15, ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    "list_int": (16, ["{1,NULL,-3}", "{}", "[0:1]={1,2}", "{{1},{2}}"]),
    "list_text": (17, ['{"a,b","NULL",NULL,"","q\\"\\\\"}']),
    "list_decimal": (18, ["{1.50,NaN}"]),
}


def write(target, name, content):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    print(f"{target}/{name}: {len(content)} bytes")


def capture_stream(server, database, major, name, sql, options):
    """One database and slot a scenario, so that each stream begins with its Relation messages."""
    server.sql("postgres", f"create database {database}")
    # A statement of its own each, since CREATE PUBLICATION's rows must not be in the slot's past.
    server.sql(database, SCHEMA)
    two_phase = ", false, true" if name == "two_phase" else ""
    server.sql(database, f"select pg_create_logical_replication_slot('{database}', 'pgoutput'{two_phase})")
    server.sql(database, SESSION + sql)
    given = ", ".join(f"'{k}', '{v}'" for k, v in {**options, "publication_names": "p"}.items())
    hexes = server.sql(database, SESSION + f"""
      select encode(data, 'hex')
      from pg_logical_slot_get_binary_changes('{database}', null, null, {given})""")
    messages = [bytes.fromhex(line) for line in hexes.splitlines()]
    content = b"".join(len(m).to_bytes(4, "big") + m for m in messages)
    write("pgoutput", f"{name}_{major}", content)
    # The assembler takes neither binary values nor protocols above 2.
    if options["proto_version"] <= 2 and "binary" not in options:
        write("assembler", f"{name}_{major}", content)
    server.sql("postgres", f"select pg_drop_replication_slot('{database}')")


def capture_copy(server, database, major):
    for table in ("plain", "kinds", "odd"):
        text = server.sql(database, SESSION + f"copy {table} to stdout")
        columns = int(server.sql(database, f"""
            select count(*) from pg_attribute
            where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped"""))
        write("copy_text", f"{table}_{major}", bytes([columns]) + text.encode() + b"\n")


def capture(major):
    settings = {"max_prepared_transactions": 5, "fsync": "off"}
    # Before 13 the server streams nothing and has no such setting.
    if major >= 13:
        settings["logical_decoding_work_mem"] = "'64kB'"
    with PrivatePostgres(major, settings) as server:
        for name, sql, options, first in SCENARIOS:
            if major >= first:
                capture_stream(server, f"s_{name}", major, name, sql, options)
        server.sql("s_changes", KINDS)
        capture_copy(server, "s_changes", major)


def main():
    for name, (place, values) in VALUES.items():
        for i, value in enumerate(values):
            write("value", f"{name}_{i}", bytes([place]) + value.encode())
    for major in [int(a) for a in sys.argv[1:]] or [10, 15, 18]:
        try:
            capture(major)
        except (SystemExit, FileNotFoundError) as missing:
            print(f"PostgreSQL {major} is left out: {missing}")


if __name__ == "__main__":
    main()
