/** What queries and changes of data do, by the meaning of SQL: a row for each way to write one. */
import { describe, expect, test } from 'vitest';
import { analysed, analysing, rows } from './statements.fixture.ts';

analysing();

/** `*` of customers, and a whole row of it. */
const STAR = 'origin origin origin:ssn origin:email origin origin:profile origin:last4,ssn origin';
const WHOLE = 'sensitive:email,last4,profile,ssn';
const customers = { reads: 'customers' } as const;
const orders = { reads: 'orders' } as const;
const both = { reads: 'customers orders' } as const;
const change = { readOnly: false } as const;

rows('columns and stars', [
  ['select 1', { result: 'clear' }],
  ["select 'x', null, $1::text, current_user, now()", { result: 'clear clear clear clear clear' }],
  ['select', {}],
  ['select from customers', customers],
  ['select id, ssn from customers', { ...customers, result: 'origin origin:ssn' }],
  ['SELECT SSN FROM CUSTOMERS', { ...customers, result: 'origin:ssn' }],
  ['select "ssn" from "public"."customers"', { ...customers, result: 'origin:ssn' }],
  ['select U&"\\0073sn" from customers', { ...customers, result: 'origin:ssn' }],
  ['select "SSN" from customers', { ...customers, result: 'sensitive', incomplete: ['SSN'] }],
  ['select "SSN", "select" from "Mixed Case"', { reads: 'Mixed Case', result: 'origin:Mixed_Case.SSN origin' }],
  ['select ssn as name, name as ssn from customers', { ...customers, result: 'origin:ssn origin' }],
  ['select ssn name from customers', { ...customers, result: 'origin:ssn' }],
  ['select customers.ssn from customers', { ...customers, result: 'origin:ssn' }],
  ['select public.customers.ssn from public.customers', { ...customers, result: 'origin:ssn' }],
  ['select * from customers', { ...customers, result: STAR }],
  ['table customers', { ...customers, result: STAR }],
  ['select c.*, c.id from customers c', { ...customers, result: `${STAR} origin` }],
  ['select o.* from customers c, orders o', { ...both, result: 'origin origin origin origin' }],
  ['select b, c from customers as t(a, b, c)', { ...customers, result: 'origin origin:ssn' }],
  ['select ssn from customers as t(a, b, c)', { ...customers, result: 'sensitive', incomplete: ['ssn'] }],
  ['select ctid, tableoid from customers', { ...customers, result: 'origin origin' }],
  ['select ctid from (select id from customers) s', { ...customers, result: 'sensitive', incomplete: ['ctid'] }],
  ['select nothing from customers', { ...customers, result: 'sensitive', incomplete: ['nothing'] }],
  ['select x.nothing from customers', { ...customers, result: 'sensitive', incomplete: ['x.nothing'] }],
  ['select x.* from customers', { ...customers, result: 'unknown', incomplete: ['x'] }],
  ['select a from nowhere', { reads: '.nowhere', result: 'sensitive', incomplete: ['nowhere'] }],
  ['select * from nowhere', { reads: '.nowhere', result: 'unknown', incomplete: ['nowhere'] }],
  ['select a from public.nowhere', { reads: 'nowhere', result: 'sensitive', incomplete: ['public.nowhere'] }],
  ['select last4, shout from customers', { ...customers, result: 'origin:last4,ssn origin' }],
  ['select email, badge from staff', { reads: 'staff', result: 'origin:staff.email origin' }],
  ['select email from only people', { reads: 'people', result: 'origin:people.email' }],
  [
    'select tablename, most_common_vals from pg_stats',
    { reads: 'pg_catalog.pg_stats', result: 'origin origin:pg_catalog.pg_stats.most_common_vals' },
  ],
  ['select relname from pg_class', { reads: 'pg_catalog.pg_class', result: 'origin' }],
]);

rows('a name of two schemas', [
  ['select id from letters', { reads: 'letters tenant.letters', result: 'origin' }],
  ['select ssn from letters', { reads: 'letters tenant.letters', result: 'origin:tenant.letters.ssn' }],
  ['select * from letters', { reads: 'letters tenant.letters', result: 'origin origin:tenant.letters.ssn' }],
  ['select * from public.letters', { reads: 'letters', result: 'origin origin' }],
  ['select * from tenant.letters', { reads: 'tenant.letters', result: 'origin origin:tenant.letters.ssn' }],
  ['select upper(b) from letters as l(a, b)', { reads: 'letters tenant.letters', result: 'sensitive:tenant.letters.ssn' }],
  ['select b from letters as l(a, b)', { reads: 'letters tenant.letters', result: 'origin:tenant.letters.ssn' }],
  // Only where the server takes it is it told what it gives.
  ['select (l).id, (l).ssn from letters l', { reads: 'letters tenant.letters', result: 'clear sensitive:tenant.letters.ssn' }],
  ['select (l).body, (l).body from letters l', { reads: 'letters tenant.letters', result: 'clear clear' }],
  ['select l.body, a.id + 1 from letters l, letters a', { reads: 'letters tenant.letters', result: 'origin clear' }],
  // Where it is the other one, the name is one of further out.
  [
    'select (select body from letters limit 1) from customers c(id, name, body)',
    { reads: 'letters tenant.letters customers', result: 'sensitive:ssn' },
  ],
  [
    'select (select ssn from letters limit 1) from notes n(ssn)',
    { reads: 'letters tenant.letters notes', result: 'sensitive:tenant.letters.ssn' },
  ],
  [
    'select id from customers c(id, name, body) where exists (select 1 from letters where body > $1)',
    { reads: 'letters tenant.letters customers', result: 'origin', predicates: 'ssn' },
  ],
]);

describe('what names a type casts to it', () => {
  test.each([
    `SELECT * FROM json_to_record('{}') AS t(a checked)`,
    `SELECT * FROM ROWS FROM (json_to_record('{}') AS (a checked), generate_series(1, 2)) t`,
    `SELECT 1 FROM json_table('[1]', '$[*]' COLUMNS (a checked PATH '$')) t`,
    `SELECT 1 FROM json_table('[1]', '$[*]' COLUMNS (NESTED '$.a' COLUMNS (a checked PATH '$'))) t`,
    `SELECT 1 FROM xmltable('/a' PASSING '<a/>' COLUMNS b checked PATH '.')`,
    `SELECT json_value('"x"', '$' RETURNING checked)`,
    `SELECT json_query('"x"', '$' RETURNING checked)`,
    `SELECT json_object('a': 1 RETURNING checked)`,
    `SELECT json_array(1 RETURNING checked)`,
    `SELECT json_arrayagg(1 RETURNING checked)`,
    `SELECT json_objectagg(1: 2 RETURNING checked)`,
    `SELECT json_serialize('1' RETURNING checked)`,
    `SELECT xmlserialize(CONTENT '<a/>' AS checked)`,
  ])('%s', (text) => {
    expect(analysed(text).request.incomplete).toEqual([expect.stringContaining('casts to checked')]);
  });
});

rows('a field of a value, or a function of it', [
  ['select (n).peek from notes n', { reads: 'notes', result: 'sensitive', functions: ['peek'], incomplete: ['peek'], readOnly: false }],
  [
    "select ('select 1'::text).ts_stat",
    { result: 'sensitive', functions: ['ts_stat'], incomplete: ['ts_stat'], readOnly: false, masked: "select ('***'::text).ts_stat" },
  ],
  [
    "select (('select 1'::text).ts_stat).word",
    {
      result: 'sensitive',
      functions: ['ts_stat'],
      incomplete: ['ts_stat'],
      readOnly: false,
      masked: "select (('***'::text).ts_stat).word",
    },
  ],
  // A type that is called is a cast to it.
  [
    "select ('x'::text).checked",
    { result: 'sensitive', functions: ['checked'], incomplete: ['checked'], readOnly: false, masked: "select ('***'::text).checked" },
  ],
  [
    'select (array[1]).lo_get',
    { result: 'sensitive', functions: ['lo_get'], incomplete: ['lo_get'], readOnly: false, masked: "select (array['***']).lo_get" },
  ],
  [
    "select ('x'::text).pg_read_file",
    {
      commands: 'select file-access',
      result: 'sensitive',
      functions: ['pg_read_file'],
      incomplete: ['pg_read_file'],
      readOnly: false,
      masked: "select ('***'::text).pg_read_file",
    },
  ],
  ['select (c.ssn).upper, (c.name).upper from customers c', { reads: 'customers', result: 'sensitive:ssn clear' }],
  ['select (c.ssn).to_date from customers c', { reads: 'customers', result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select (n).id, (n).body from notes n', { reads: 'notes', result: 'clear clear' }],
]);

rows('views', [
  ['select name from names', { reads: 'names customers', result: 'origin' }],
  ['select id, key, start from keys', { reads: 'keys customers', result: 'origin origin:keys.key,ssn origin:keys.start,ssn' }],
  ['select lower(key) from keys', { reads: 'keys customers', result: 'sensitive:keys.key,ssn' }],
  ['select a from keys2', { reads: 'keys2 keys customers', result: 'origin:keys2.a,keys.key,ssn' }],
  ['select n from counts', { reads: 'counts customers', result: 'origin' }],
  ['select x from sneaky', { reads: 'sneaky', result: 'origin:sneaky.x', functions: ['public.peek'], incomplete: ['peek'] }],
  ['select id from sneaky', { reads: 'sneaky', result: 'origin', functions: ['public.peek'], incomplete: ['peek'] }],
  ['select id from broken', { reads: 'broken', result: 'origin:broken.id', incomplete: ['cannot be understood'] }],
]);

rows('conditions, orders, groups and limits', [
  ["select id from customers where name = 'x'", { ...customers, result: 'origin' }],
  [
    "select id from customers where ssn = '1'",
    { ...customers, result: 'origin', predicates: 'ssn', masked: "select id from customers where ssn = '***'" },
  ],
  [
    "select id from customers where name = 'x' and ssn in ('1', '2') or id = 3",
    {
      ...customers,
      result: 'origin',
      predicates: 'ssn',
      masked: "select id from customers where name = 'x' and ssn in ('***', '***') or id = 3",
    },
  ],
  [
    "select id from customers where not ssn like '1%'",
    { ...customers, result: 'origin', predicates: 'ssn', masked: "select id from customers where not ssn like '***'" },
  ],
  ['select id from customers where ssn is null', { ...customers, result: 'origin', predicates: 'ssn' }],
  ['select id from customers order by ssn', { ...customers, result: 'origin', predicates: 'ssn' }],
  ['select id from customers order by upper(ssn) desc nulls last', { ...customers, result: 'origin', predicates: 'ssn' }],
  ['select id, ssn from customers order by 2', { ...customers, result: 'origin origin:ssn', predicates: 'ssn' }],
  ['select id, ssn from customers order by 1', { ...customers, result: 'origin origin:ssn' }],
  ['select id, ssn as x from customers order by x', { ...customers, result: 'origin origin:ssn', predicates: 'ssn' }],
  ['select id, ssn as x from customers order by id', { ...customers, result: 'origin origin:ssn' }],
  ['select * from customers order by 3', { ...customers, result: STAR, predicates: 'ssn' }],
  ['select name as ssn from customers group by ssn, name', { ...customers, result: 'origin', predicates: 'ssn' }],
  ['select name from customers group by name having max(ssn) > name', { ...customers, result: 'origin', predicates: 'ssn' }],
  ['select ssn, count(*) from customers group by 1', { ...customers, result: 'origin:ssn clear', predicates: 'ssn' }],
  ['select name from customers group by grouping sets ((name), (ssn))', { ...customers, result: 'origin', predicates: 'ssn' }],
  ['select name, ssn from customers group by rollup (1, 2)', { ...customers, result: 'origin origin:ssn', predicates: 'ssn' }],
  ['select name from customers group by cube (name, (id, email))', { ...customers, result: 'origin', predicates: 'email' }],
  ['select name from customers group by grouping sets ((name), (id))', { ...customers, result: 'origin' }],
  ['select grouping(ssn) from customers group by ssn', { ...customers, result: 'clear', predicates: 'ssn' }],
  ['select distinct ssn from customers', { ...customers, result: 'origin:ssn', predicates: 'ssn' }],
  ['select distinct name from customers', { ...customers, result: 'origin' }],
  ['select distinct on (ssn) id from customers', { ...customers, result: 'origin', predicates: 'ssn' }],
  ['select distinct on (id) ssn from customers', { ...customers, result: 'origin:ssn' }],
  ['select id from customers limit 2 offset 1', { ...customers, result: 'origin' }],
  ['select id from customers limit (select length(ssn) from customers limit 1)', { ...customers, result: 'origin', predicates: 'ssn' }],
  ['select id from customers offset (select length(ssn) from customers limit 1)', { ...customers, result: 'origin', predicates: 'ssn' }],
  ['select id from customers tablesample bernoulli (10)', { ...customers, result: 'origin' }],
  [
    'select id from customers tablesample outside (10)',
    { ...customers, result: 'origin', incomplete: ['outside'], masked: "select id from customers tablesample outside ('***')" },
  ],
  ['select id from customers for update', { ...customers, ...change, commands: 'select lock', writes: 'customers', result: 'origin' }],
  ['select id from orders for key share', { ...orders, ...change, commands: 'select lock', writes: 'orders', result: 'origin' }],
]);

rows('aggregates and windows', [
  ['select count(*), count(ssn), count(id) from customers', { ...customers, result: 'clear clear clear' }],
  ['select count(distinct ssn) from customers', { ...customers, result: 'clear', predicates: 'ssn' }],
  ['select count(distinct name) from customers', { ...customers, result: 'clear' }],
  [
    "select count(nullif(ssn, 'x')) from customers",
    { ...customers, result: 'clear', predicates: 'ssn', masked: "select count(nullif(ssn, '***')) from customers" },
  ],
  ['select count(*) filter (where ssn is null) from customers', { ...customers, result: 'clear', predicates: 'ssn' }],
  ['select max(ssn), max(name) from customers', { ...customers, result: 'sensitive:ssn clear' }],
  ["select string_agg(name, ',') from customers", { ...customers, result: 'clear' }],
  [
    "select string_agg(name, ',' order by ssn) from customers",
    { ...customers, result: 'sensitive:ssn', predicates: 'ssn', masked: "select string_agg(name, '***' order by ssn) from customers" },
  ],
  ['select mode() within group (order by ssn) from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select row_number() over (order by ssn) from customers', { ...customers, result: 'clear', predicates: 'ssn' }],
  ['select row_number() over (partition by email) from customers', { ...customers, result: 'clear', predicates: 'email' }],
  ['select first_value(ssn) over (partition by name) from customers', { ...customers, result: 'sensitive:ssn' }],
  ['select first_value(name) over (order by id) from customers', { ...customers, result: 'clear' }],
  ['select max(id) over w from customers window w as (order by ssn)', { ...customers, result: 'clear', predicates: 'ssn' }],
  ['select max(id) over (order by name rows 1 preceding) from customers', { ...customers, result: 'clear' }],
]);

rows('expressions', [
  ['select upper(ssn), upper(name) from customers', { ...customers, result: 'sensitive:ssn clear' }],
  ['select ssn || name, name || shout from customers', { ...customers, result: 'sensitive:ssn clear' }],
  ['select concat(ssn, email) from customers', { ...customers, result: 'sensitive:email,ssn' }],
  ['select upper(last4) from customers', { ...customers, result: 'sensitive:last4,ssn' }],
  ['select ssn::text, ssn collate "C" from customers', { ...customers, result: 'sensitive:ssn sensitive:ssn' }],
  ['select ssn is null, ssn is distinct from name from customers', { ...customers, result: 'sensitive:ssn sensitive:ssn' }],
  [
    'select coalesce(ssn, name), greatest(ssn, name), nullif(name, ssn) from customers',
    { ...customers, result: 'sensitive:ssn sensitive:ssn sensitive:ssn' },
  ],
  ['select case when ssn = name then id end from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select case ssn when name then id end from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  [
    'select case when id = 1 then ssn else name end from customers',
    { ...customers, result: 'sensitive:ssn', masked: "select case when id = '***' then ssn else name end from customers" },
  ],
  ['select case id when 1 then name end from customers', { ...customers, result: 'clear' }],
  [
    'select array[ssn, name], (array[name, ssn])[1] from customers',
    {
      ...customers,
      result: 'sensitive:ssn sensitive:ssn',
      predicates: 'ssn',
      masked: "select array[ssn, name], (array[name, ssn])['***'] from customers",
    },
  ],
  ['select tags[1], tags[1:2], unnest(tags) from customers', { ...customers, result: 'clear clear clear' }],
  ['select row(id, ssn), row(id, name) from customers', { ...customers, result: 'sensitive:ssn clear' }],
]);

rows('whole rows', [
  ['select c from customers c', { ...customers, result: WHOLE }],
  ['select customers from customers', { ...customers, result: WHOLE }],
  ['select c::text from customers c', { ...customers, result: WHOLE }],
  ['select n from notes n', { reads: 'notes', result: 'clear' }],
  ['select (c).id, (c).ssn from customers c', { ...customers, result: 'clear sensitive:ssn' }],
  ['select (c).* from customers c', { ...customers, result: STAR }],
  ['select row(c.*) from customers c', { ...customers, result: WHOLE }],
  ['select (select c).id from customers c', { ...customers, result: WHOLE }],
  ['select row_to_json(c), to_jsonb(c) from customers c', { ...customers, result: `${WHOLE} ${WHOLE}` }],
  ['select c.row_to_json from customers c', { ...customers, result: WHOLE }],
  ['select count(c) from customers c', { ...customers, result: 'clear', predicates: 'email last4 profile ssn' }],
  ['select s from (select id, ssn from customers) s', { ...customers, result: 'sensitive:ssn' }],
  ['select s from (select id from customers) s', { ...customers, result: 'clear' }],
]);

rows('JSON', [
  [
    "select profile ->> 'mail' from customers",
    { ...customers, result: 'sensitive:profile', masked: "select profile ->> '***' from customers" },
  ],
  ['select json_build_array(ssn), json_array(ssn) from customers', { ...customers, result: 'sensitive:ssn sensitive:ssn' }],
  // A key that is NULL is an error.
  ['select json_build_object(ssn, id) from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select json_object(ssn: id) from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select json_objectagg(ssn: id) from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select json_object(name: id), json_array(name) from customers', { ...customers, result: 'clear clear' }],
  ['select json(ssn) from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select ssn is json from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  [
    "select json_value(profile, '$.a') from customers",
    { ...customers, result: 'sensitive:profile', predicates: 'profile', masked: "select json_value(profile, '***') from customers" },
  ],
  [
    "select j.a, c.id from customers c, json_table(c.profile, '$' columns (a text path '$.a')) j",
    {
      ...customers,
      result: 'sensitive:profile origin',
      predicates: 'profile',
      masked: "select j.a, c.id from customers c, json_table(c.profile, '***' columns (a text path '***')) j",
    },
  ],
  ["select j.a from orders o, json_table(o.note::jsonb, '$' columns (a text path '$.a')) j", { ...orders, result: 'clear' }],
  ['select json_array(select ssn from customers)', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
]);

rows('what may fail, and tells of values by that', [
  ['select ssn::int from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select ssn::jsonb from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select id::text::int from customers', { ...customers, result: 'clear' }],
  ['select id / length(ssn) from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select left(ssn, 3) from customers', { ...customers, result: 'sensitive:ssn', masked: "select left(ssn, '***') from customers" }],
  [
    'select substr(ssn, 1, 2) from customers',
    { ...customers, result: 'sensitive:ssn', masked: "select substr(ssn, '***', '***') from customers" },
  ],
  [
    'select substr(ssn, 1, id) from customers',
    { ...customers, result: 'sensitive:ssn', predicates: 'ssn', masked: "select substr(ssn, '***', id) from customers" },
  ],
  [
    "select split_part(ssn, '-', 1) from customers",
    { ...customers, result: 'sensitive:ssn', masked: "select split_part(ssn, '***', '***') from customers" },
  ],
  [
    "select split_part(ssn, '-', 0) from customers",
    { ...customers, result: 'sensitive:ssn', predicates: 'ssn', masked: "select split_part(ssn, '***', '***') from customers" },
  ],
  [
    "select replace(ssn, 'aa', 'b') from customers",
    { ...customers, result: 'sensitive:ssn', masked: "select replace(ssn, '***', '***') from customers" },
  ],
  [
    "select replace(ssn, 'a', 'bb') from customers",
    { ...customers, result: 'sensitive:ssn', predicates: 'ssn', masked: "select replace(ssn, '***', '***') from customers" },
  ],
  ['select repeat(ssn, id) from customers', { ...customers, result: 'sensitive:ssn', predicates: 'ssn' }],
  [
    'select coalesce(ssn, (1 / id)::text) from customers',
    { ...customers, result: 'sensitive:ssn', predicates: 'ssn', masked: "select coalesce(ssn, ('***' / id)::text) from customers" },
  ],
  ['select profile || profile from customers', { ...customers, result: 'sensitive:profile', predicates: 'profile' }],
  [
    'select generate_series(1, length(ssn)) from customers',
    { ...customers, result: 'sensitive:ssn', predicates: 'ssn', masked: "select generate_series('***', length(ssn)) from customers" },
  ],
]);

rows('subqueries', [
  ['select (select ssn from customers where id = 1)', { ...customers, result: 'sensitive:ssn' }],
  ['select (select name from customers where id = 1)', { ...customers, result: 'clear' }],
  ['select x from (select ssn as x, id from customers) s', { ...customers, result: 'origin:ssn' }],
  ['select s.id from (select ssn as x, id from customers) s', { ...customers, result: 'origin' }],
  ['select * from (select upper(ssn), id from customers) s', { ...customers, result: 'sensitive:ssn origin' }],
  ['select b from (select id, ssn from customers) s(a, b)', { ...customers, result: 'origin:ssn' }],
  ['select id from customers where id in (select customer_id from orders)', { ...both, result: 'origin' }],
  ['select id from orders where note in (select ssn from customers)', { ...both, result: 'origin', predicates: 'ssn' }],
  [
    "select id from orders where '1' in (select ssn from customers)",
    { ...both, result: 'origin', predicates: 'ssn', masked: "select id from orders where '***' in (select ssn from customers)" },
  ],
  [
    "select id from orders where '1' > all (select ssn from customers)",
    { ...both, result: 'origin', predicates: 'ssn', masked: "select id from orders where '***' > all (select ssn from customers)" },
  ],
  [
    "select id from customers where ssn = any (select '1')",
    { ...customers, result: 'origin', predicates: 'ssn', masked: "select id from customers where ssn = any (select '***')" },
  ],
  [
    "select exists (select 1 from customers where ssn = '1')",
    { ...customers, result: 'clear', predicates: 'ssn', masked: "select exists (select 1 from customers where ssn = '***')" },
  ],
  ['select exists (select ssn from customers)', { ...customers, result: 'clear' }],
  ['select array(select ssn from customers)', { ...customers, result: 'sensitive:ssn' }],
  ['select (select c.ssn) from customers c', { ...customers, result: 'sensitive:ssn' }],
  ['select id from orders where (id, note) = (select id, ssn from customers)', { ...both, result: 'origin', predicates: 'ssn' }],
  ['select l.x from orders o, lateral (select ssn as x from customers where id = o.customer_id) l', { ...both, result: 'origin:ssn' }],
  ['select l.x from customers c, lateral (select c.ssn || c.name as x) l', { ...customers, result: 'sensitive:ssn' }],
  ['select t from customers c, unnest(c.tags) t', { ...customers, result: 'clear' }],
  [
    "select t from customers c, unnest(string_to_array(c.ssn, '-')) t",
    {
      ...customers,
      result: 'sensitive:ssn',
      predicates: 'ssn',
      masked: "select t from customers c, unnest(string_to_array(c.ssn, '***')) t",
    },
  ],
  ['select g, n from generate_series(1, 3) with ordinality as s(g, n)', { result: 'clear clear' }],
  ["select x.a from json_to_record('{}') as x(a int)", { result: 'clear' }],
  [
    'select c.id from customers c, generate_series(1, length(c.ssn))',
    { ...customers, result: 'origin', predicates: 'ssn', masked: "select c.id from customers c, generate_series('***', length(c.ssn))" },
  ],
]);

rows('joins', [
  ['select c.ssn, o.id from customers c join orders o on o.customer_id = c.id', { ...both, result: 'origin:ssn origin' }],
  ['select o.id from orders o left join customers c on c.ssn = o.note', { ...both, result: 'origin', predicates: 'ssn' }],
  ['select o.id from customers c cross join orders o', { ...both, result: 'origin' }],
  [
    'select * from people join staff using (email)',
    { reads: 'people staff', result: 'origin:people.email,staff.email origin origin origin', predicates: 'people.email staff.email' },
  ],
  ['select badge from people natural join staff', { reads: 'people staff', result: 'origin', predicates: 'people.email staff.email' }],
  ['select badge from people join staff using (id)', { reads: 'people staff', result: 'origin' }],
  [
    'select u.email from people join staff using (email) as u',
    { reads: 'people staff', result: 'origin:people.email,staff.email', predicates: 'people.email staff.email' },
  ],
  ['select j.c from (customers x cross join notes n) as j(a, b, c)', { reads: 'customers notes', result: 'origin:ssn' }],
  ['select j.b from (notes n cross join customers x) as j(a, b)', { reads: 'customers notes', result: 'origin' }],
  ['select n.body from notes n, customers c where c.id = n.id', { reads: 'customers notes', result: 'origin' }],
  ['select a.ssn, b.name from customers a, customers b', { ...customers, result: 'origin:ssn origin' }],
  [
    'select upper(key) from (select note as key from orders) o natural full join jsonb_each_text((select profile from customers limit 1))',
    {
      ...both,
      result: 'sensitive:profile',
      predicates: 'profile',
      masked:
        "select upper(key) from (select note as key from orders) o natural full join jsonb_each_text((select profile from customers limit '***'))",
    },
  ],
  [
    'select key from (select note as key from orders) o full join jsonb_each_text((select profile from customers)) using (key)',
    { ...both, result: 'sensitive:profile', predicates: 'profile' },
  ],
  ['select id from nowhere natural join notes', { reads: '.nowhere notes', result: 'sensitive', incomplete: ['nowhere'] }],
]);

rows('WITH', [
  ['with x as (select id, ssn from customers) select id from x', { ...customers, result: 'origin' }],
  ['with x as (select id, ssn from customers) select * from x', { ...customers, result: 'origin origin:ssn' }],
  ['with x as (select upper(ssn) as u from customers) select u from x', { ...customers, result: 'sensitive:ssn' }],
  ['with x(a, b) as (select id, ssn from customers) select b from x', { ...customers, result: 'origin:ssn' }],
  ['with customers as (select 1 as ssn) select ssn from customers', { result: 'clear' }],
  ['with customers as (select 1 as ssn) select ssn from public.customers', { ...customers, result: 'origin:ssn' }],
  [
    'with a as (select * from notes), notes as (select ssn from customers) select * from a',
    { reads: 'notes customers', result: 'origin origin' },
  ],
  ['with notes as (select ssn from customers), a as (select * from notes) select * from a', { ...customers, result: 'origin:ssn' }],
  ['with x as (select ssn from customers) select id from orders', { ...both, result: 'origin' }],
  ['with x as (select id from customers where ssn is null) select 1', { ...customers, result: 'clear', predicates: 'ssn' }],
  [
    'with recursive r(n, v) as (select id, ssn from customers union all select n + 1, v from r where n < 3) select n, v from r',
    { ...customers, result: 'clear sensitive:ssn' },
  ],
  [
    'with recursive r(a, b) as (select name, ssn from customers union all select b, a from r) select a from r',
    { ...customers, result: 'sensitive:ssn' },
  ],
  [
    'with recursive r(a) as (select ssn from customers union select a from r) select 1 from r',
    { ...customers, result: 'clear', predicates: 'ssn' },
  ],
  [
    'with recursive r(i, s) as (select id, ssn from customers union all select i, s from r) cycle s set looped using path select looped from r',
    { ...customers, result: 'sensitive:ssn', predicates: 'ssn' },
  ],
  [
    'with d as (delete from notes returning id, body) select * from d',
    { ...change, commands: 'select delete', reads: 'notes', writes: 'notes', result: 'origin origin' },
  ],
  ['with d as (delete from notes) select 1', { ...change, commands: 'select delete', writes: 'notes', result: 'clear' }],
  [
    'with u as (update customers set name = name returning ssn) select ssn from u',
    { ...change, ...customers, commands: 'select update', writes: 'customers', result: 'origin:ssn' },
  ],
  [
    'with i as (insert into notes (id, body) select id, ssn from customers returning id) select id from i',
    { ...change, commands: 'select insert', reads: 'customers notes', writes: 'notes', result: 'sensitive', incomplete: ['ssn into body'] },
  ],
  [
    'with m as (merge into notes n using orders o on n.id = o.id when matched then delete returning n.id) select id from m',
    { ...change, commands: 'select merge', reads: 'notes orders', writes: 'notes', result: 'origin' },
  ],
]);

rows('set operations and VALUES', [
  ['select ssn from customers union all select note from orders', { ...both, result: 'sensitive:ssn' }],
  ['select note from orders union all select ssn from customers', { ...both, result: 'sensitive:ssn' }],
  ['select id from orders union all select id from customers', { ...both, result: 'clear' }],
  ['select ssn from customers union select note from orders', { ...both, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select note from orders except select ssn from customers', { ...both, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select note from orders intersect all select ssn from customers', { ...both, result: 'sensitive:ssn', predicates: 'ssn' }],
  [
    'select id, ssn from customers union all select id, note from orders order by 2',
    { ...both, result: 'clear sensitive:ssn', predicates: 'ssn' },
  ],
  ['select id, ssn from customers union all select id, note from orders order by id', { ...both, result: 'clear sensitive:ssn' }],
  [
    "select '1' intersect select ssn from customers",
    { ...customers, result: 'sensitive:ssn', predicates: 'ssn', masked: "select '***' intersect select ssn from customers" },
  ],
  ["select '1' union all select ssn from customers", { ...customers, result: 'sensitive:ssn' }],
  ['select id, ssn from customers union all select id from orders', { ...both, result: 'unknown', output: 'ssn' }],
  ["values (1, 'x'), (2, 'y')", { result: 'clear clear' }],
  ['values ((select ssn from customers limit 1), 1)', { ...customers, result: 'sensitive:ssn clear' }],
  ['select column1, column2 from (values (1, (select ssn from customers limit 1))) v', { ...customers, result: 'clear sensitive:ssn' }],
]);

rows('INSERT', [
  ["insert into notes (id, body) values (1, 'x')", { ...change, commands: 'insert', writes: 'notes' }],
  ['insert into notes default values', { ...change, commands: 'insert', writes: 'notes' }],
  [
    "insert into customers (id, ssn) values (1, '078'), (2, '079')",
    {
      ...change,
      commands: 'insert',
      writes: 'customers',
      written: 'ssn',
      masked: "insert into customers (id, ssn) values (1, '***'), (2, '***')",
    },
  ],
  [
    "insert into customers values (1, 'Ada', '078', 'a@b')",
    {
      ...change,
      commands: 'insert',
      writes: 'customers',
      written: 'ssn email',
      masked: "insert into customers values (1, 'Ada', '***', '***')",
    },
  ],
  [
    "insert into customers (id, name) values (1, 'x') returning *",
    { ...change, ...customers, commands: 'insert', writes: 'customers', result: STAR },
  ],
  [
    'insert into customers (id, ssn) values (2, default) returning id',
    { ...change, ...customers, commands: 'insert', writes: 'customers', written: 'ssn', result: 'origin' },
  ],
  ['insert into notes (id, body) select id, name from customers', { ...change, ...customers, commands: 'insert', writes: 'notes' }],
  [
    'insert into customers (id, ssn) select id, ssn from customers',
    { ...change, ...customers, commands: 'insert', writes: 'customers', written: 'ssn' },
  ],
  [
    'insert into notes (id, body) select id, ssn from customers',
    { ...change, ...customers, commands: 'insert', writes: 'notes', incomplete: ['ssn into body'] },
  ],
  [
    'insert into notes select id, upper(ssn) from customers',
    { ...change, ...customers, commands: 'insert', writes: 'notes', incomplete: ['ssn into body'] },
  ],
  [
    'insert into notes (body) values ((select ssn from customers limit 1))',
    {
      ...change,
      ...customers,
      commands: 'insert',
      writes: 'notes',
      incomplete: ['ssn into body'],
      masked: "insert into notes (body) values ((select ssn from customers limit '***'))",
    },
  ],
  [
    'insert into customers (id, email) select id, ssn from customers',
    { ...change, ...customers, commands: 'insert', writes: 'customers', written: 'email', incomplete: ['email'] },
  ],
  [
    'insert into nowhere (a) values (1)',
    { ...change, commands: 'insert', writes: '.nowhere', incomplete: ['nowhere'], masked: "insert into nowhere (a) values ('***')" },
  ],
  [
    'insert into notes (nothing) values (1)',
    { ...change, commands: 'insert', writes: 'notes', incomplete: ['nothing'], masked: "insert into notes (nothing) values ('***')" },
  ],
  [
    'insert into ruled (id) values (1)',
    { ...change, commands: 'insert', writes: 'ruled', incomplete: ['rules'], masked: "insert into ruled (id) values ('***')" },
  ],
  [
    "insert into customers (id, ssn) values (1, 'x') on conflict do nothing",
    {
      ...change,
      commands: 'insert',
      writes: 'customers',
      written: 'ssn',
      predicates: 'ssn',
      masked: "insert into customers (id, ssn) values (1, '***') on conflict do nothing",
    },
  ],
  [
    'insert into customers (id, ssn) values (1, $1) on conflict (id) do nothing',
    { ...change, ...customers, commands: 'insert', writes: 'customers', written: 'ssn' },
  ],
  [
    'insert into customers (id, ssn) values (1, $1) on conflict (ssn) do update set name = excluded.name',
    { ...change, ...customers, commands: 'insert', writes: 'customers', written: 'ssn', predicates: 'ssn' },
  ],
  [
    'insert into customers (id, ssn) values (1, $1) on conflict (id) do update set ssn = excluded.ssn where customers.email is null',
    { ...change, ...customers, commands: 'insert', writes: 'customers', written: 'ssn', predicates: 'email' },
  ],
  [
    'insert into customers (id, ssn) values ($2, $1) on conflict (id) do update set name = excluded.ssn',
    { ...change, ...customers, commands: 'insert', writes: 'customers', written: 'ssn', incomplete: ['ssn into name'] },
  ],
]);

rows('which rule decides about an INSERT', [
  [
    'insert into customers (id, ssn) values ($2, $1) on conflict on constraint c do nothing',
    { ...change, commands: 'insert', writes: 'customers', written: 'ssn', predicates: 'ssn' },
  ],
]);

rows('UPDATE', [
  ["update notes set body = 'x'", { ...change, commands: 'update', writes: 'notes' }],
  ["update notes set body = 'x' where id = 1", { ...change, commands: 'update', reads: 'notes', writes: 'notes' }],
  [
    "update customers set ssn = 'x' where id = 1",
    {
      ...change,
      ...customers,
      commands: 'update',
      writes: 'customers',
      written: 'ssn',
      masked: "update customers set ssn = '***' where id = 1",
    },
  ],
  [
    "update customers set name = 'x' where ssn = '1'",
    {
      ...change,
      ...customers,
      commands: 'update',
      writes: 'customers',
      predicates: 'ssn',
      masked: "update customers set name = 'x' where ssn = '***'",
    },
  ],
  ['update customers set ssn = ssn', { ...change, ...customers, commands: 'update', writes: 'customers', written: 'ssn' }],
  ['update customers set ssn = name', { ...change, ...customers, commands: 'update', writes: 'customers', written: 'ssn' }],
  ['update customers set name = ssn', { ...change, ...customers, commands: 'update', writes: 'customers', incomplete: ['ssn into name'] }],
  [
    'update customers set ssn = upper(ssn)',
    { ...change, ...customers, commands: 'update', writes: 'customers', written: 'ssn', incomplete: ['changes ssn'] },
  ],
  [
    'update customers set ssn = email',
    { ...change, ...customers, commands: 'update', writes: 'customers', written: 'ssn', incomplete: ['changes ssn'] },
  ],
  [
    'update customers set (id, name) = (select 1, ssn from orders limit 2)',
    {
      ...change,
      ...both,
      commands: 'update',
      writes: 'customers',
      incomplete: ['ssn into id', 'ssn into name'],
      masked: "update customers set (id, name) = (select '***', ssn from orders limit '***')",
    },
  ],
  [
    'update notes n set body = c.name from customers c where c.id = n.id returning n.id, c.ssn',
    { ...change, commands: 'update', reads: 'customers notes', writes: 'notes', result: 'origin origin:ssn' },
  ],
  [
    "update customers set name = 'x' returning old.ssn, new.name",
    { ...change, ...customers, commands: 'update', writes: 'customers', result: 'origin:ssn origin' },
  ],
  [
    "update customers set name = 'x' returning with (old as o, new as n) o.ssn, n.id",
    { ...change, ...customers, commands: 'update', writes: 'customers', result: 'origin:ssn origin' },
  ],
  ["update customers set name = 'x' returning old", { ...change, ...customers, commands: 'update', writes: 'customers', result: WHOLE }],
  [
    'update customers set name = ssn returning id',
    { ...change, ...customers, commands: 'update', writes: 'customers', result: 'sensitive', incomplete: ['ssn into name'] },
  ],
  ['update keys set id = 2', { ...change, commands: 'update', writes: 'keys customers' }],
  [
    'update customers set tags[length(ssn)] = name',
    { ...change, ...customers, commands: 'update', writes: 'customers', predicates: 'ssn', incomplete: ['ssn into tags'] },
  ],
]);

rows('what is returned after values have moved', [
  [
    'update customers set name = ssn returning upper(name), 1',
    {
      ...change,
      ...customers,
      commands: 'update',
      writes: 'customers',
      result: 'sensitive clear',
      incomplete: ['ssn into name'],
      masked: "update customers set name = ssn returning upper(name), '***'",
    },
  ],
]);

rows('DELETE', [
  ['delete from notes', { ...change, commands: 'delete', writes: 'notes' }],
  [
    "delete from customers where ssn = '1'",
    {
      ...change,
      ...customers,
      commands: 'delete',
      writes: 'customers',
      predicates: 'ssn',
      masked: "delete from customers where ssn = '***'",
    },
  ],
  [
    "delete from notes using customers c where c.id = notes.id and c.ssn like '1%'",
    {
      ...change,
      commands: 'delete',
      reads: 'customers notes',
      writes: 'notes',
      predicates: 'ssn',
      masked: "delete from notes using customers c where c.id = notes.id and c.ssn like '***'",
    },
  ],
  ['delete from customers returning *', { ...change, ...customers, commands: 'delete', writes: 'customers', result: STAR }],
  [
    'delete from customers returning old.email, upper(new.ssn)',
    { ...change, ...customers, commands: 'delete', writes: 'customers', result: 'origin:email sensitive:ssn' },
  ],
  [
    'with x as (select ssn from customers) delete from notes where body in (select ssn from x)',
    { ...change, commands: 'delete', reads: 'customers notes', writes: 'notes', predicates: 'ssn' },
  ],
]);

const merge = (rest: string): string => `merge into notes n using customers c on n.id = c.id when ${rest}`;
const merged = { ...change, commands: 'merge', reads: 'customers notes', writes: 'notes' } as const;

rows('MERGE', [
  [merge("matched then update set body = c.name when not matched then insert (id, body) values (c.id, 'x')"), merged],
  [merge('matched then delete returning n.id, merge_action(), c.ssn'), { ...merged, result: 'origin clear origin:ssn' }],
  [merge('matched then do nothing'), merged],
  [merge('matched then update set body = c.ssn'), { ...merged, incomplete: ['ssn into body'] }],
  [merge('not matched then insert (id, body) values (c.id, c.ssn)'), { ...merged, incomplete: ['ssn into body'] }],
  [merge('not matched then insert values (c.id, c.ssn)'), { ...merged, incomplete: ['ssn into body'] }],
  [
    merge("matched and c.email = 'x' then delete"),
    { ...merged, predicates: 'email', masked: merge("matched and c.email = '***' then delete") },
  ],
  ['merge into notes n using customers c on n.body = c.ssn when matched then delete', { ...merged, predicates: 'ssn' }],
  [
    'merge into notes n using orders o on n.id = o.id when matched then delete returning *',
    { ...merged, reads: 'notes orders', result: 'origin origin origin origin origin origin' },
  ],
  [
    "merge into customers c using orders o on c.id = o.customer_id when not matched then insert (id, ssn) values (o.id, '1')",
    {
      ...merged,
      ...both,
      writes: 'customers',
      written: 'ssn',
      masked: "merge into customers c using orders o on c.id = o.customer_id when not matched then insert (id, ssn) values (o.id, '***')",
    },
  ],
]);

rows('the order of what MERGE returns', [
  [
    'merge into notes n using (select id + id as a, ssn from customers) s on n.id = s.a when matched then delete returning *',
    { ...merged, result: 'clear origin:ssn origin origin' },
  ],
]);

rows('what may fail beside a value', [
  ['select array[profile] from customers', { ...customers, result: 'sensitive:profile' }],
  ['select array[profile, profile] from customers', { ...customers, result: 'sensitive:profile', predicates: 'profile' }],
  // More than one row is an error.
  ['select coalesce(ssn, (select note from orders)) from customers', { ...both, result: 'sensitive:ssn', predicates: 'ssn' }],
  ['select ssn is null or exists (select note from orders) from customers', { ...both, result: 'sensitive:ssn' }],
]);

rows('functions, operators and casts that are not known', [
  ['select peek(1)', { ...change, result: 'sensitive', functions: ['peek'], incomplete: ['peek'], masked: "select peek('***')" }],
  [
    'select public.peek(id) from orders',
    { ...change, ...orders, result: 'sensitive', functions: ['public.peek'], incomplete: ['public.peek'] },
  ],
  ['select nosuch()', { ...change, result: 'sensitive', functions: ['nosuch'], incomplete: ['nosuch'] }],
  ['select * from peek(ssn) p', { ...change, result: 'unknown', functions: ['peek'], incomplete: ['ssn', 'peek'] }],
  // A function of that name stands outside pg_catalog, so that one may be meant.
  [
    "select initcap('x')",
    { ...change, result: 'sensitive', functions: ['initcap'], incomplete: ['initcap'], masked: "select initcap('***')" },
  ],
  ["select pg_catalog.initcap('x')", { result: 'clear' }],
  [
    'select public.upper(name) from customers',
    { ...change, ...customers, result: 'sensitive', functions: ['public.upper'], incomplete: ['public.upper'] },
  ],
  ['select c.peek from customers c', { ...change, ...customers, result: WHOLE, functions: ['peek'], incomplete: ['peek'] }],
  [
    "select pg_read_file('x')",
    {
      ...change,
      commands: 'select file-access',
      result: 'sensitive',
      functions: ['pg_read_file'],
      incomplete: ['pg_read_file'],
      masked: "select pg_read_file('***')",
    },
  ],
  ["select nextval('counter')", { ...change, commands: 'select update', writes: 'counter', result: 'clear', functions: ['nextval'] }],
  [
    "select nextval('nosuch')",
    {
      ...change,
      commands: 'select update',
      result: 'clear',
      functions: ['nextval'],
      incomplete: ['sequence'],
      masked: "select nextval('***')",
    },
  ],
  [
    "select setval('counter', length(ssn)) from customers",
    {
      ...change,
      ...customers,
      commands: 'select update',
      writes: 'counter',
      result: 'sensitive:ssn',
      functions: ['setval'],
      incomplete: ['setval'],
      masked: "select setval('***', length(ssn)) from customers",
    },
  ],
  ['select pg_advisory_lock(1)', { ...change, result: 'clear', functions: ['pg_advisory_lock'] }],
  [
    "select set_config('Role', 'x', false)",
    {
      ...change,
      commands: 'select set set:role',
      result: 'sensitive',
      functions: ['set_config'],
      incomplete: ['set_config'],
      masked: "select set_config('***', '***', false)",
    },
  ],
  ["select current_setting('x')", { result: 'clear' }],
  [
    "select 'a' ==> 'b'",
    { ...change, result: 'sensitive', functions: ['operator ==>'], incomplete: ['==>'], masked: "select '***' ==> '***'" },
  ],
  [
    "select 'a' operator(public.||) 'b'",
    {
      ...change,
      result: 'sensitive',
      functions: ['operator public.||'],
      incomplete: ['public.||'],
      masked: "select '***' operator(public.||) '***'",
    },
  ],
  ["select 'a' operator(pg_catalog.||) 'b'", { result: 'clear' }],
  [
    'select id from orders order by note using ==>',
    { ...change, ...orders, result: 'origin', functions: ['operator ==>'], incomplete: ['==>'] },
  ],
  [
    'select id from orders where id between 1 and 2',
    {
      ...change,
      ...orders,
      result: 'origin',
      functions: ['operator <='],
      incomplete: ['<='],
      masked: "select id from orders where id between '***' and '***'",
    },
  ],
  [
    'select id from orders where id ==> any (select id from notes)',
    { ...change, reads: 'orders notes', result: 'origin', functions: ['operator ==>'], incomplete: ['==>'] },
  ],
  [
    "select 'x'::checked",
    { ...change, result: 'sensitive', functions: ['cast to checked'], incomplete: ['checked'], masked: "select '***'::checked" },
  ],
  [
    "select date '2024-01-01'",
    { ...change, result: 'sensitive', functions: ['cast to date'], incomplete: ['date'], masked: "select date '***'" },
  ],
  ["select '2024-01-01'::pg_catalog.date", { result: 'clear' }],
  ['select money(id) from orders', { ...change, ...orders, result: 'sensitive', functions: ['money'], incomplete: ['money'] }],
]);
