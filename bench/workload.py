"""The backlogs that the benchmarks drain: 2 M changes of one 5-column table, 1,000 a transaction."""

TABLE = """
CREATE TABLE public.entries (
  id bigint PRIMARY KEY,
  account int NOT NULL,
  amount numeric(12,2),
  note text,
  created_at timestamptz NOT NULL);
"""

# A prime: i * step mod PRIME visits every number below it once, far from its neighbours.
PRIME = 700_001
BASE_ROWS = 2 * PRIME  # the mix updates even keys of these and deletes odd ones

ROW = """i, (i * 7919 % 100000)::int, (i % 1000000) / 100.0, md5(i::text),
  timestamptz '2026-01-01 00:00:00+00' + i * interval '1 millisecond'"""

# Inserts only.
INSERT = f"""
CREATE PROCEDURE load(transactions int, rows int) LANGUAGE plpgsql AS $$
BEGIN
  FOR t IN 0 .. transactions - 1 LOOP
    INSERT INTO public.entries SELECT {ROW}
      FROM generate_series(t::bigint * rows + 1, (t::bigint + 1) * rows) i;
    COMMIT;
  END LOOP;
END $$;
"""

# Inserts, updates and deletes in equal parts; no key is touched twice.
MIX = f"""
CREATE PROCEDURE load(transactions int, rows int) LANGUAGE plpgsql AS $$
DECLARE
  third int := rows / 3;
BEGIN
  FOR t IN 0 .. transactions - 1 LOOP
    INSERT INTO public.entries SELECT {ROW}
      FROM generate_series({BASE_ROWS} + t::bigint * (rows - 2 * third) + 1,
                           {BASE_ROWS} + (t::bigint + 1) * (rows - 2 * third)) i;
    UPDATE public.entries SET amount = amount + 1, note = md5(note)
      WHERE id IN (SELECT 2 * (n * 7919 % {PRIME}) + 2
                   FROM generate_series(t::bigint * third, (t::bigint + 1) * third - 1) n);
    DELETE FROM public.entries
      WHERE id IN (SELECT 2 * (n * 48271 % {PRIME}) + 1
                   FROM generate_series(t::bigint * third, (t::bigint + 1) * third - 1) n);
    COMMIT;
  END LOOP;
END $$;
"""

BASE = f"INSERT INTO public.entries SELECT {ROW} FROM generate_series(1::bigint, {BASE_ROWS}) i; ANALYZE;"
