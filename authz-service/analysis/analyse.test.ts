/** What is refused, what a text is recorded as, and how columns without a name are called. */
import { describe, expect, test } from 'vitest';
import { LARGEST_TEXT } from './analyse.ts';
import { AnalysisError } from './error.ts';
import { analysed, analysing } from './statements.fixture.ts';

analysing();

function refusal(text: string): AnalysisError {
  try {
    analysed(text);
  } catch (error) {
    if (error instanceof AnalysisError) return error;
  }
  throw new Error('not refused');
}

describe('what is refused', () => {
  test.each([
    ['selec 1', 'syntax'],
    ["select 'x", 'syntax'],
    ['select $$x', 'syntax'],
    ['select 1 /* x', 'syntax'],
    ['explain copy notes to stdout', 'syntax'],
    ["select 1\0; select 'x'", 'unsupported'],
    ['select 1 -- \ud800', 'unsupported'],
    [`select '${'x'.repeat(LARGEST_TEXT)}'`, 'too_large'],
    // The bound counts bytes.
    [`select '${'é'.repeat(LARGEST_TEXT / 2)}'`, 'too_large'],
    [`select ${'('.repeat(400)}1${'+1)'.repeat(400)}`, 'too_large'],
    [';select 1'.repeat(1_001), 'too_large'],
  ])('%.40j', (text, code) => {
    expect(refusal(text).code).toBe(code);
  });

  test('the place of a mistake is told in characters', () => {
    expect(refusal("select 'é', from notes")).toMatchObject({ code: 'syntax', position: 13 });
  });

  test('as much as the bounds allow is not', () => {
    expect(analysed(';select 1'.repeat(1_000)).statements).toBe(1_000);
    expect(analysed(`select ${'('.repeat(200)}1${'+1)'.repeat(200)}`).result).toEqual(['clear']);
  });
});

describe('the text for the record', () => {
  test.each([
    // A sign is no part of the literal; comments go with what is masked.
    ['select id from customers where ssn = -1', "select id from customers where ssn = -'***'"],
    ["select id from customers where ssn = '1' -- 078-05-1120", "select id from customers where ssn = '***'  "],
    ['select /* 1 */ id from notes', 'select /* 1 */ id from notes'],
    ["select id from customers where ssn = E'1\\'' and name = 'é'", "select id from customers where ssn = '***' and name = 'é'"],
    ["select id from customers where ssn = u&'!0031' uescape '!'", "select id from customers where ssn = '***' uescape '!'"],
    ['select U&"\\0069d" from customers where ssn = X\'ff\'::text', 'select U&"\\0069d" from customers where ssn = \'***\'::text'],
    ["select 'é', id from customers where ssn = U&'\\0031'", "select 'é', id from customers where ssn = '***'"],
    ['select id from customers where ssn = $a$1$a$ and id = 1', "select id from customers where ssn = '***' and id = 1"],
    ["select id from customers where ssn = '1'\n '2'", "select id from customers where ssn = '***'"],
    [
      "select id from customers where ssn = b'1'::text or id in (2, 3.5)",
      "select id from customers where ssn = '***'::text or id in (2, 3.5)",
    ],
    ["select id from customers where ssn = (select '1')", "select id from customers where ssn = (select '***')"],
    [
      "with x(v) as (values ('1')) select id from customers join x on v = ssn",
      "with x(v) as (values ('***')) select id from customers join x on v = ssn",
    ],
    [
      "select c.id from customers c, (select '1' as v from notes where id = 2) x where v = ssn",
      "select c.id from customers c, (select '***' as v from notes where id = 2) x where v = ssn",
    ],
    [
      "select c.id from customers c, (select 'a' as v union all values ('b')) x where v = ssn",
      "select c.id from customers c, (select '***' as v union all values ('***')) x where v = ssn",
    ],
    [
      "select c.id from customers c, unnest(array['1', '2']) v where v = ssn",
      "select c.id from customers c, unnest(array['***', '***']) v where v = ssn",
    ],
    [
      "with x(v) as (values ('1')) select ssn from customers join x on v = name",
      "with x(v) as (values ('1')) select ssn from customers join x on v = name",
    ],
    ["select peek(1, 2.5, x'ff', 'a'), 3", "select peek('***', '***', '***', '***'), '***'"],
    ["select id from customers where ssn = $1 and name = 'x'", "select id from customers where ssn = $1 and name = 'x'"],
  ])('%s', (text, masked) => {
    expect(analysed(text).maskedText).toBe(masked);
  });
});

describe('whether the columns of the result follow those of a relation', () => {
  test.each([
    ['select * from notes', true],
    ['select n.*, 1 from notes n', true],
    ['select (n).* from notes n', true],
    ['select id from (select * from notes) n', true],
    ['delete from notes returning *', true],
    ['table notes', true],
    ['select id, body from notes', false],
    ['select count(*) from notes', false],
  ])('%s', (text, expands) => {
    expect(analysed(text).expands).toBe(expands);
  });
});

describe('fingerprints', () => {
  test.each([
    ['select id from notes where id = 1', 'SELECT id FROM notes WHERE id=2 -- more', true],
    ["select 'a'", "select 'b'", true],
    ['select id from notes', 'select body from notes', false],
    ['select id from notes where id = 1', 'select id from notes where id > 1', false],
    ['-- nothing', ' ', true],
  ])('%s; %s', (one, other, same) => {
    const [a, b] = [one, other].map((text) => analysed(text).fingerprint);
    expect(a).toMatch(/^[0-9a-f]{16}$/);
    expect(a === b).toBe(same);
  });

  test('of an empty text there is none', () => {
    expect(analysed('').fingerprint).toBe('');
  });
});

/** By what PostgreSQL calls it a column of a subquery is found. */
describe('names of columns that are given none', () => {
  test.each([
    ['id', 'id'],
    ['c.id', 'id'],
    ['upper(name)', 'upper'],
    ['pg_catalog.upper(name)', 'upper'],
    ['id::text', 'id'],
    ["'x'::text", 'text'],
    ['(id + 1)::int8', 'int8'],
    ['1', '?column?'],
    ['id + 1', '?column?'],
    ['name collate "C"', 'name'],
    ['tags[1]', 'tags'],
    ['(c).id', 'id'],
    ['case when id = 1 then 2 end', 'case'],
    ['case when id = 1 then 2 else id end', 'id'],
    ['nullif(id, 1)', 'nullif'],
    ['coalesce(id, 1)', 'coalesce'],
    ['greatest(id, 1)', 'greatest'],
    ['least(id, 1)', 'least'],
    ['array[1]', 'array'],
    ['array(select 1)', 'array'],
    ['row(1, 2)', 'row'],
    ['exists (select 1)', 'exists'],
    ['(select id)', 'id'],
    ['(select id as x)', 'x'],
    ['(select id + 1)', '?column?'],
    ['id in (select 1)', '?column?'],
    ['current_user', 'current_user'],
    ['current_date', 'current_date'],
    ['current_timestamp(3)', 'current_timestamp'],
    ['json_object(1: 2)', 'json_object'],
    ['json_array(1)', 'json_array'],
    ['json_array(select 1)', 'json_array'],
    ["json('1')", 'json'],
    ['json_scalar(1)', 'json_scalar'],
    ["json_value(profile, '$.a')", 'json_value'],
    ["json_query(profile, '$.a')", 'json_query'],
    ["json_exists(profile, '$.a')", 'json_exists'],
    ['xmlconcat(null::xml)', 'xmlconcat'],
    ['xmlforest(id)', 'xmlforest'],
  ])('%s', (expression, name) => {
    const { request } = analysed(`select s."${name}" from (select ${expression} from customers c) s`);
    expect(request.incomplete).toEqual([]);
    const other = analysed(`select s."another" from (select ${expression} from customers c) s`);
    expect(other.request.incomplete).toEqual([expect.stringContaining('another')]);
  });

  test.each([
    ['json_objectagg(id: 1)', 'json_objectagg'],
    ['json_arrayagg(id)', 'json_arrayagg'],
    ['grouping(id)', 'grouping'],
  ])('%s', (expression, name) => {
    expect(analysed(`select s."${name}" from (select ${expression} from notes group by id) s`).request.incomplete).toEqual([]);
  });
});
