/** What the statements that are no queries do, and strings of more than one statement. */
import { expect, test } from 'vitest';
import { analysed, analysing, type Row, rows } from './statements.fixture.ts';

analysing();

const customers = { reads: 'customers' } as const;
const change = { readOnly: false } as const;

rows('EXPLAIN', [
  ['explain select ssn from customers', { ...customers, commands: 'explain', result: 'clear' }],
  [
    "explain select id from customers where ssn = 'x'",
    { ...customers, commands: 'explain', result: 'clear', predicates: 'ssn', masked: "explain select id from customers where ssn = '***'" },
  ],
  ['explain delete from notes', { commands: 'explain', reads: 'notes', result: 'clear' }],
  ['explain (analyze off, costs off) delete from notes', { commands: 'explain', reads: 'notes', result: 'clear' }],
  ['explain (analyze 0) delete from notes', { commands: 'explain', reads: 'notes', result: 'clear' }],
  ['explain analyze delete from notes', { ...change, commands: 'delete explain', writes: 'notes', result: 'clear' }],
  ['explain (verbose, analyze) delete from notes', { ...change, commands: 'delete explain', writes: 'notes', result: 'clear' }],
  ['explain (analyze true) select name from customers', { ...customers, commands: 'select explain', result: 'clear' }],
  // How much room rows took is told.
  ['explain analyze select ssn from customers', { ...customers, commands: 'select explain', result: 'clear', predicates: 'ssn' }],
  ['explain select a from nowhere', { reads: '.nowhere', commands: 'explain', result: 'sensitive', incomplete: ['nowhere'] }],
  ['explain execute p', { ...change, commands: 'explain', result: 'sensitive', executes: 'p', incomplete: ['prepared'] }],
  ['explain analyze execute p', { ...change, commands: 'execute explain', result: 'sensitive', executes: 'p', incomplete: ['prepared'] }],
  [
    "explain select pg_read_file('x')",
    {
      commands: 'file-access explain',
      result: 'sensitive',
      functions: ['pg_read_file'],
      incomplete: ['pg_read_file'],
      masked: "explain select pg_read_file('***')",
    },
  ],
  [
    'delete from orders; explain delete from notes',
    { ...change, commands: 'delete explain', reads: 'notes', writes: 'orders', result: 'clear', statements: 2 },
  ],
]);

rows('COPY', [
  [
    'copy customers (id, ssn) to stdout',
    { ...customers, commands: 'copy-to', output: 'ssn', copyOut: { format: 'text', columns: ['clear', 'sensitive'] } },
  ],
  // Generated columns are left out.
  [
    'copy customers to stdout',
    {
      ...customers,
      commands: 'copy-to',
      output: 'ssn email profile',
      copyOut: { format: 'text', columns: ['clear', 'clear', 'sensitive', 'sensitive', 'clear', 'sensitive'] },
    },
  ],
  [
    'copy customers (last4, shout) to stdout',
    { ...customers, commands: 'copy-to', output: 'last4 ssn', copyOut: { format: 'text', columns: ['sensitive', 'clear'] } },
  ],
  [
    'copy notes to stdout (format binary)',
    { reads: 'notes', commands: 'copy-to', copyOut: { format: 'binary', columns: ['clear', 'clear'] } },
  ],
  [
    'copy (select ssn from customers) to stdout',
    { ...customers, commands: 'copy-to', output: 'ssn', copyOut: { format: 'text', columns: ['sensitive'] } },
  ],
  // The length of what is masked is told.
  [
    'copy (select upper(ssn), name from customers) to stdout',
    { ...customers, commands: 'copy-to', output: 'ssn', predicates: 'ssn', copyOut: { format: 'text', columns: ['sensitive', 'clear'] } },
  ],
  [
    'copy (select c from customers c) to stdout',
    {
      ...customers,
      commands: 'copy-to',
      output: 'email last4 profile ssn',
      predicates: 'email last4 profile ssn',
      copyOut: { format: 'text', columns: ['sensitive'] },
    },
  ],
  [
    "copy notes to stdout (format csv, delimiter ';', null 'N', quote '!', escape '?')",
    {
      reads: 'notes',
      commands: 'copy-to',
      copyOut: { format: 'csv', columns: ['clear', 'clear'], delimiter: ';', nullText: 'N', quote: '!', escape: '?' },
    },
  ],
  [
    "copy notes to stdout csv delimiter '|'",
    { reads: 'notes', commands: 'copy-to', copyOut: { format: 'csv', columns: ['clear', 'clear'], delimiter: '|' } },
  ],
  ["copy notes to stdout (encoding 'SJIS')", { reads: 'notes', commands: 'copy-to', copyOut: { format: 'text', columns: undefined } }],
  [
    "copy notes to stdout (encoding 'UTF8')",
    { reads: 'notes', commands: 'copy-to', copyOut: { format: 'text', columns: ['clear', 'clear'] } },
  ],
  ['copy notes to stdout (format parquet)', { reads: 'notes', commands: 'copy-to', copyOut: { format: 'text', columns: undefined } }],
  ['copy notes to stdout (another)', { reads: 'notes', commands: 'copy-to', copyOut: { format: 'text', columns: undefined } }],
  [
    'copy letters to stdout',
    {
      reads: 'letters tenant.letters',
      commands: 'copy-to',
      output: 'tenant.letters.ssn',
      predicates: 'tenant.letters.ssn',
      copyOut: { format: 'text', columns: undefined },
    },
  ],
  [
    'copy nowhere to stdout',
    { reads: '.nowhere', commands: 'copy-to', copyOut: { format: 'text', columns: undefined }, incomplete: ['nowhere'] },
  ],
  [
    "copy customers (id) to '/tmp/x'",
    { ...change, ...customers, commands: 'copy-to file-access', incomplete: ['file'], masked: "copy customers (id) to '***'" },
  ],
  [
    "copy customers (ssn) to program 'cat'",
    {
      ...change,
      ...customers,
      commands: 'copy-to copy-program',
      output: 'ssn',
      incomplete: ['program'],
      masked: "copy customers (ssn) to program '***'",
    },
  ],
  [
    'copy (delete from notes returning id) to stdout',
    { ...change, commands: 'copy-to delete', reads: 'notes', writes: 'notes', copyOut: { format: 'text', columns: ['clear'] } },
  ],
  [
    'copy (update customers set name = ssn returning name) to stdout',
    {
      ...change,
      ...customers,
      commands: 'copy-to update',
      writes: 'customers',
      copyOut: { format: 'text', columns: undefined },
      incomplete: ['ssn into name'],
    },
  ],
  [
    'copy notes to stdout; copy notes to stdout',
    { commands: 'copy-to', reads: 'notes', copyOut: { format: 'text', columns: undefined }, statements: 2 },
  ],
  // Neither of the two is told from the other.
  [
    'copy notes to stdout (format binary); copy notes to stdout (format csv)',
    { commands: 'copy-to', reads: 'notes', copyOut: { format: 'text', columns: undefined }, statements: 2 },
  ],
  ['copy notes from stdin', { ...change, commands: 'copy-from', writes: 'notes' }],
  ['copy customers (id, ssn) from stdin', { ...change, commands: 'copy-from', writes: 'customers', written: 'ssn' }],
  [
    "copy notes from '/tmp/x'",
    { ...change, commands: 'copy-from file-access', writes: 'notes', incomplete: ['file'], masked: "copy notes from '***'" },
  ],
  [
    "copy notes from program 'cat'",
    { ...change, commands: 'copy-from copy-program', writes: 'notes', incomplete: ['program'], masked: "copy notes from program '***'" },
  ],
  [
    "copy customers (id) from stdin where ssn = 'x'",
    {
      ...change,
      ...customers,
      commands: 'copy-from',
      writes: 'customers',
      predicates: 'ssn',
      masked: "copy customers (id) from stdin where ssn = '***'",
    },
  ],
]);

rows('new tables and views', [
  ['create table fresh as select name from customers', { ...change, ...customers, commands: 'ddl', writes: '.fresh' }],
  [
    'create temp table fresh as select id, upper(ssn) as u from customers',
    { ...change, ...customers, commands: 'ddl', writes: '.fresh', output: 'ssn', incomplete: ['ssn into a new table'] },
  ],
  [
    'create materialized view fresh as select ssn from customers',
    { ...change, ...customers, commands: 'ddl', writes: '.fresh', output: 'ssn', incomplete: ['ssn into a new table'] },
  ],
  [
    'create table tenant.fresh as execute p',
    { ...change, commands: 'execute ddl', writes: 'tenant.fresh', executes: 'p', incomplete: ['prepared', 'not known into a new table'] },
  ],
  ['select name into fresh from customers', { ...change, ...customers, commands: 'select ddl', writes: '.fresh' }],
  [
    'select ssn into temp fresh from customers',
    { ...change, ...customers, commands: 'select ddl', writes: '.fresh', incomplete: ['ssn into a new table'] },
  ],
  ['create view fresh as select ssn from customers', { ...change, ...customers, commands: 'ddl', writes: '.fresh', output: 'ssn' }],
  [
    "create or replace view names as select id from customers where ssn = '1'",
    {
      ...change,
      ...customers,
      commands: 'ddl',
      writes: '.names',
      predicates: 'ssn',
      masked: "create or replace view names as select id from customers where ssn = '***'",
    },
  ],
  [
    'create table fresh as select 1 as a; select a from fresh',
    {
      ...change,
      commands: 'ddl select',
      reads: '.fresh',
      writes: '.fresh',
      result: 'unknown',
      incomplete: ['fresh'],
      statements: 2,
      masked: "create table fresh as select '***' as a; select a from fresh",
    },
  ],
]);

const executed = { ...change, executes: 'p' } as const;
const p = (...texts: string[]) => ({ prepared: { p: texts } });

rows('EXECUTE of what is known', [
  [
    'execute p',
    {
      ...executed,
      ...customers,
      ...p('prepare p as select id, ssn, upper(ssn) from customers'),
      commands: 'execute select',
      result: 'origin origin:ssn sensitive:ssn',
    },
  ],
  [
    "execute p('1')",
    {
      ...executed,
      ...customers,
      ...p('prepare p(text) as select id from customers where ssn = $1'),
      commands: 'execute select',
      result: 'origin',
      predicates: 'ssn',
      masked: "execute p('***')",
    },
  ],
  [
    "execute p('1')",
    {
      ...executed,
      ...p("prepare p(text) as select note from orders where note = $1 or note = 'x'"),
      commands: 'execute select',
      reads: 'orders',
      result: 'origin',
    },
  ],
  [
    "execute p('1')",
    {
      ...executed,
      ...p('prepare p(text) as insert into notes (body) values ($1)'),
      commands: 'execute insert',
      writes: 'notes',
      masked: "execute p('***')",
    },
  ],
  // Prepared by the protocol.
  [
    'execute p',
    {
      ...executed,
      ...customers,
      ...p('delete from notes using customers c returning c.ssn || body'),
      commands: 'execute delete',
      writes: 'notes',
      reads: 'customers notes',
      result: 'sensitive:ssn',
    },
  ],
  // Either may be what stands there.
  [
    'execute p',
    {
      ...executed,
      ...p('prepare p as select id from notes', 'prepare p as select upper(ssn) from customers'),
      commands: 'execute select',
      reads: 'notes customers',
      result: 'sensitive:ssn',
    },
  ],
  [
    'execute p',
    {
      ...executed,
      ...p('prepare p as select id from notes', 'prepare p as select 1, 2'),
      commands: 'execute select',
      reads: 'notes',
      result: 'unknown',
    },
  ],
  [
    'execute p',
    {
      ...executed,
      ...p('prepare p as select id from notes', 'prepare p as delete from orders'),
      commands: 'execute select delete',
      reads: 'notes',
      writes: 'orders',
      result: 'origin',
    },
  ],
  // The text itself says what the name means from there on.
  [
    'prepare p as select id from notes; execute p',
    {
      ...executed,
      ...p('prepare p as select ssn from customers'),
      commands: 'prepare select execute',
      reads: 'notes',
      result: 'origin',
      prepares: 'p',
      statements: 2,
    },
  ],
  [
    'prepare p as select 1; prepare q as select 2; execute q; execute p',
    { ...executed, executes: 'q p', commands: 'prepare select execute', result: 'unknown', prepares: 'p q', statements: 4 },
  ],
  ['execute q', { ...executed, ...p('select 1'), executes: 'q', commands: 'execute', result: 'unknown', incomplete: ['prepared'] }],
  // What is not seen through may have prepared it anew.
  [
    'select peek(1); execute p',
    {
      ...executed,
      ...p('select 1'),
      commands: 'select execute',
      result: 'unknown',
      functions: ['peek'],
      incomplete: ['peek', 'prepared'],
      statements: 2,
      masked: "select peek('***'); execute p",
    },
  ],
  [
    'execute p(peek(1))',
    {
      ...executed,
      ...p('prepare p(int) as select $1'),
      commands: 'execute',
      result: 'unknown',
      functions: ['peek'],
      incomplete: ['peek', 'prepared'],
      masked: "execute p(peek('***'))",
    },
  ],
  [
    'execute p',
    { ...executed, ...p('select peek(1)'), commands: 'execute select', result: 'sensitive', functions: ['peek'], incomplete: ['peek'] },
  ],
  // Values are brought to the types of parameters by casts, which may be anybody's.
  [
    'execute p(1)',
    {
      ...executed,
      ...p('prepare p(money) as select $1'),
      commands: 'execute select',
      result: 'clear',
      functions: ['cast to money'],
      incomplete: ['casts to money'],
      masked: "execute p('***')",
    },
  ],
  ...['prepare p as select $1', 'prepare p(unknown) as select $1', 'select $1'].map(
    (text): Row => [
      'execute p(1)',
      { ...executed, ...p(text), commands: 'execute select', result: 'clear', incomplete: ['not known'], masked: "execute p('***')" },
    ],
  ),
  // What the protocol prepared may be anything.
  ...['create table x (a int)', 'execute p', 'prepare q as select 1', '', 'copy notes to stdout', 'fetch c'].map(
    (text): Row => ['execute p', { ...executed, ...p(text), commands: 'execute', result: 'unknown', incomplete: ['no query'] }],
  ),
  // The values are evaluated, though nothing runs.
  ...['', 'create table made as '].map(
    (made): Row => [
      `explain ${made}execute p(nextval('counter'))`,
      {
        ...executed,
        ...p('prepare p(int) as select $1'),
        commands: 'update explain',
        writes: 'counter',
        reads: made && '.made',
        functions: ['nextval'],
        result: 'clear',
        masked: `explain ${made}execute p(nextval('***'))`,
      },
    ],
  ),
  [
    'explain execute p',
    { ...executed, ...customers, ...p('select id from customers where ssn > $1'), commands: 'explain', result: 'clear', predicates: 'ssn' },
  ],
  [
    'explain analyze execute p',
    {
      ...executed,
      ...customers,
      ...p('select ssn from customers'),
      commands: 'execute select explain',
      result: 'clear',
      predicates: 'ssn',
    },
  ],
  [
    'create temp table fresh as execute p',
    { ...executed, ...p('select id from notes'), commands: 'execute select ddl', reads: 'notes', writes: '.fresh' },
  ],
  [
    'create temp table fresh as execute p',
    {
      ...executed,
      ...customers,
      ...p('select ssn as x from customers'),
      commands: 'execute select ddl',
      writes: '.fresh',
      output: 'ssn',
      incomplete: ['ssn into a new table'],
    },
  ],
]);

test('texts of what is prepared', () => {
  const changes = analysed(
    'select 1; prepare "É" (int) as select \'é\'; deallocate a; prepare b as select 2; deallocate all; discard all; discard plans',
  ).nameChanges;
  expect(changes).toEqual([
    { kind: 'prepare', name: 'É', text: 'prepare "É" (int) as select \'é\'' },
    { kind: 'deallocate', name: 'a' },
    { kind: 'prepare', name: 'b', text: 'prepare b as select 2' },
    { kind: 'deallocate' },
    { kind: 'deallocate' },
  ]);
  const { runs } = analysed('execute p', { p: ["prepare p as select id from customers where ssn = '1' and name = 'x'"] });
  expect(runs).toEqual(["prepare p as select id from customers where ssn = '***' and name = 'x'"]);
});

rows('code, procedures, prepared statements and cursors', [
  ['do $$ begin delete from notes; end $$', { ...change, commands: 'do', incomplete: ['block of code'], masked: "do '***'" }],
  [
    "call p(1, 'x')",
    {
      ...change,
      commands: 'call',
      result: 'unknown',
      functions: ['p'],
      incomplete: ['calls p', 'procedure'],
      masked: "call p('***', '***')",
    },
  ],
  ['prepare p as select ssn from customers where id = $1', { ...change, ...customers, commands: 'prepare select', prepares: 'p' }],
  [
    "prepare p as delete from customers where ssn = '1'",
    {
      ...change,
      ...customers,
      commands: 'prepare delete',
      writes: 'customers',
      predicates: 'ssn',
      prepares: 'p',
      masked: "prepare p as delete from customers where ssn = '***'",
    },
  ],
  [
    "execute p('1')",
    { ...change, commands: 'execute', result: 'unknown', executes: 'p', incomplete: ['prepared'], masked: "execute p('***')" },
  ],
  [
    'execute p(peek(1))',
    {
      ...change,
      commands: 'execute',
      result: 'unknown',
      executes: 'p',
      functions: ['peek'],
      incomplete: ['peek', 'prepared'],
      masked: "execute p(peek('***'))",
    },
  ],
  ['deallocate p', { ...change, commands: 'deallocate' }],
  ['deallocate all', { ...change, commands: 'deallocate' }],
  ['declare c cursor for select ssn from customers', { ...customers, commands: 'declare select', declares: 'c' }],
  [
    'declare c scroll cursor with hold for select id from customers order by ssn',
    { ...customers, commands: 'declare select', declares: 'c', predicates: 'ssn' },
  ],
  ['declare "C" cursor for select 1', { commands: 'declare select', declares: 'C' }],
  ['fetch 2 from c', { commands: 'fetch', result: 'unknown', fetches: 'c', touches: true }],
  ['move 1 in c', { commands: 'fetch', fetches: 'c', touches: true }],
  ['close c', { commands: 'close' }],
]);

rows('settings', [
  ['set search_path = x, y', { ...change, commands: 'set set:search_path' }],
  ['set local SEARCH_PATH to x', { ...change, commands: 'set set:search_path' }],
  ['reset search_path', { ...change, commands: 'set set:search_path' }],
  ['reset all', { ...change, commands: 'set set:all' }],
  ['set role bob', { ...change, commands: 'set set:role role' }],
  ['reset role', { ...change, commands: 'set set:role role' }],
  ['set session authorization bob', { ...change, commands: 'set set:session_authorization role' }],
  ["set time zone 'UTC'", { ...change, commands: 'set set:timezone' }],
  ['set standard_conforming_strings = on', { ...change, commands: 'set set:standard_conforming_strings' }],
  [
    'set standard_conforming_strings = off',
    { ...change, commands: 'set set:standard_conforming_strings', incomplete: ['standard_conforming_strings'] },
  ],
  ['set backslash_quote = on', { ...change, commands: 'set set:backslash_quote', incomplete: ['backslash_quote'] }],
  ["set names 'utf8'", { ...change, commands: 'set set:client_encoding' }],
  [
    "set client_encoding = 'SJIS'",
    { ...change, commands: 'set set:client_encoding', incomplete: ['client_encoding'], masked: "set client_encoding = '***'" },
  ],
  ['set transaction isolation level serializable', { ...change, commands: 'set set:transaction' }],
  ['set session characteristics as transaction read only', { ...change, commands: 'set set:session_characteristics' }],
  ['show search_path', { commands: 'show', result: 'clear' }],
  ['show all', { commands: 'show', result: 'clear clear clear' }],
  ['discard all', { ...change, commands: 'set set:all deallocate close' }],
]);

rows('transactions and notifications', [
  ['begin', { commands: 'transaction' }],
  ['start transaction read only', { commands: 'transaction' }],
  ['savepoint s', { commands: 'transaction' }],
  ['commit', { ...change, commands: 'transaction' }],
  ['rollback', { ...change, commands: 'transaction' }],
  ['rollback to s', { ...change, commands: 'transaction' }],
  ["prepare transaction 'x'", { ...change, commands: 'transaction' }],
  ['set constraints all deferred', { ...change, commands: 'transaction' }],
  ['listen x', { ...change, commands: 'listen', incomplete: ['other sessions'] }],
  ['unlisten *', { ...change, commands: 'listen' }],
  ["notify x, 'y'", { ...change, commands: 'notify' }],
]);

rows('privileges and roles', [
  ['grant select on customers to bob', { ...change, ...customers, commands: 'privilege', touches: false }],
  ['revoke all on notes from bob', { ...change, reads: 'notes', commands: 'privilege' }],
  ['alter default privileges grant select on tables to bob', { ...change, commands: 'privilege' }],
  ['alter table notes owner to bob', { ...change, commands: 'ddl', writes: 'notes' }],
  ['grant admin to bob', { ...change, commands: 'role' }],
  ["create role bob password 'secret'", { ...change, commands: 'role', masked: "create role bob password '***'" }],
  ["alter role bob with password 'secret'", { ...change, commands: 'role', masked: "alter role bob with password '***'" }],
  ['alter role bob set search_path = x', { ...change, commands: 'role set:search_path' }],
  ['drop role bob', { ...change, commands: 'role' }],
  [
    'create policy p on notes using (peek(id) is null)',
    { ...change, reads: 'notes', commands: 'privilege', functions: ['peek'], incomplete: ['peek'] },
  ],
]);

rows('DDL', [
  ['create table fresh (id int primary key, at date)', { ...change, commands: 'ddl', writes: '.fresh' }],
  [
    'alter table notes alter body type checked',
    { ...change, commands: 'ddl', writes: 'notes', functions: ['cast to checked'], incomplete: ['checked'] },
  ],
  [
    'alter table notes alter body type int using body::checked::int',
    { ...change, commands: 'ddl', writes: 'notes', functions: ['cast to checked'], incomplete: ['checked'] },
  ],
  ['create table fresh (id int references customers)', { ...change, commands: 'ddl', writes: '.fresh customers' }],
  ["create table fresh (id int default nextval('counter'))", { ...change, commands: 'ddl', writes: '.fresh', functions: ['nextval'] }],
  ['alter table customers alter ssn type int using ssn::int', { ...change, commands: 'ddl', writes: 'customers' }],
  [
    'alter table notes add check (peek(id) > 1)',
    {
      ...change,
      commands: 'ddl',
      writes: 'notes',
      functions: ['peek'],
      incomplete: ['peek'],
      masked: "alter table notes add check (peek(id) > '***')",
    },
  ],
  [
    'alter table notes add check (body ==> body)',
    { ...change, commands: 'ddl', writes: 'notes', functions: ['operator ==>'], incomplete: ['==>'] },
  ],
  ['alter table letters rename to x', { ...change, commands: 'ddl', writes: 'letters tenant.letters' }],
  ['alter table notes add body2 text default 5', { ...change, commands: 'ddl', writes: 'notes' }],
  ['create unique index on customers (ssn)', { ...change, commands: 'ddl', writes: 'customers' }],
  ['drop table notes, tenant.letters', { ...change, commands: 'ddl', writes: 'notes tenant.letters' }],
  ['drop table if exists nowhere', { ...change, commands: 'ddl', writes: '.nowhere' }],
  ['create schema s', { ...change, commands: 'ddl' }],
  ["alter system set work_mem = '1MB'", { ...change, commands: 'ddl set:work_mem', masked: "alter system set work_mem = '***'" }],
  [
    "create server s foreign data wrapper f options (host 'x', password 'y')",
    { ...change, commands: 'ddl', masked: "create server s foreign data wrapper f options (host '***', password '***')" },
  ],
  [
    "create subscription s connection 'password=y' publication p",
    { ...change, commands: 'ddl', masked: "create subscription s connection '***' publication p" },
  ],
  ['truncate notes, customers', { ...change, commands: 'truncate', writes: 'notes customers' }],
  ['lock table notes', { ...change, commands: 'lock', writes: 'notes' }],
  ['vacuum full notes', { ...change, commands: 'maintenance', writes: 'notes' }],
  ['reindex table customers', { ...change, commands: 'maintenance', writes: 'customers' }],
  ['checkpoint', { ...change, commands: 'maintenance' }],
  ["load 'x'", { ...change, commands: 'file-access', incomplete: ['library'], masked: "load '***'" }],
  // What a literal of theirs is compared with, or becomes.
  [
    "alter table customers add check (ssn <> '1')",
    { ...change, commands: 'ddl', writes: 'customers', masked: "alter table customers add check (ssn <> '***')" },
  ],
  [
    "create index on customers (id) where ssn = '1'",
    { ...change, commands: 'ddl', writes: 'customers', masked: "create index on customers (id) where ssn = '***'" },
  ],
  ["create index on customers (id) where name = '1'", { ...change, commands: 'ddl', writes: 'customers' }],
  [
    "alter table notes add column ssn text default '1', add x text default '2'",
    { ...change, commands: 'ddl', writes: 'notes', masked: "alter table notes add column ssn text default '***', add x text default '2'" },
  ],
  [
    "create table fresh (id int default 1, ssn text default '1' check (ssn <> '2'), check (ssn <> '3'), check (id <> 4))",
    {
      ...change,
      commands: 'ddl',
      writes: '.fresh',
      masked: "create table fresh (id int default 1, ssn text default '***' check (ssn <> '***'), check (ssn <> '***'), check (id <> 4))",
    },
  ],
  [
    "create table other.fresh (\"SSN\" text default '1', x text default '2')",
    {
      ...change,
      commands: 'ddl',
      writes: 'other.fresh',
      masked: "create table other.fresh (\"SSN\" text default '***', x text default '2')",
    },
  ],
  [
    "create table part partition of customers for values in ('1')",
    { ...change, commands: 'ddl', writes: '.part customers', masked: "create table part partition of customers for values in ('***')" },
  ],
  [
    "alter table customers attach partition part for values in ('1')",
    { ...change, commands: 'ddl', writes: 'customers .part', masked: "alter table customers attach partition part for values in ('***')" },
  ],
  [
    "create trigger t before update on customers for each row when (old.ssn = '1') execute function f()",
    {
      ...change,
      commands: 'ddl',
      writes: 'customers',
      masked: "create trigger t before update on customers for each row when (old.ssn = '***') execute function f()",
    },
  ],
  ...[
    ['column customers.ssn', true],
    ['column public.customers.ssn', true],
    ['column nowhere.ssn', true],
    ['table customers', true],
    ['constraint c on customers', true],
    ['column notes.body', false],
    ['table notes', false],
    ['schema public', false],
  ].map(
    ([what, masked]): Row => [
      `comment on ${what} is 'as 1'`,
      { ...change, commands: 'ddl', touches: false, ...(masked && { masked: `comment on ${what} is '***'` }) },
    ],
  ),
  [
    "security label on column customers.ssn is '1'",
    { ...change, commands: 'ddl', touches: false, masked: "security label on column customers.ssn is '***'" },
  ],
  [
    "create function f() returns text language sql as 'select name from customers where SSN = 1'",
    { ...change, commands: 'ddl', masked: "create function f() returns text language sql as '***'" },
  ],
  ["create function f() returns text language sql as 'select 1 as session'", { ...change, commands: 'ddl' }],
  [
    "alter table customers alter ssn set default '1'",
    { ...change, commands: 'ddl', writes: 'customers', masked: "alter table customers alter ssn set default '***'" },
  ],
  [
    "create policy p on customers using (ssn = '1' and id = 2)",
    {
      ...change,
      ...customers,
      commands: 'privilege',
      touches: false,
      masked: "create policy p on customers using (ssn = '***' and id = '***')",
    },
  ],
]);

rows('more than one statement', [
  ['', { commands: '', statements: 0 }],
  [';;', { commands: '', statements: 0 }],
  ['-- ping', { commands: '', statements: 0 }],
  ['select id from notes; select ssn from customers', { reads: 'notes customers', result: 'unknown', output: 'ssn', statements: 2 }],
  [
    'begin; select ssn from customers; commit',
    { ...change, ...customers, commands: 'transaction select', result: 'origin:ssn', statements: 3 },
  ],
  [
    'delete from notes; select upper(ssn) from customers',
    { ...change, ...customers, commands: 'delete select', writes: 'notes', result: 'sensitive:ssn', statements: 2 },
  ],
  [
    'update customers set name = ssn; select name from customers',
    {
      ...change,
      ...customers,
      commands: 'update select',
      writes: 'customers',
      result: 'sensitive',
      incomplete: ['ssn into name'],
      statements: 2,
    },
  ],
  [
    'alter table notes add x int; select body from notes',
    { ...change, commands: 'ddl select', reads: 'notes', writes: 'notes', result: 'unknown', statements: 2 },
  ],
  [
    'set search_path = x; select id from notes',
    { ...change, commands: 'set set:search_path select', reads: 'notes', result: 'origin', statements: 2 },
  ],
  [
    "select id from customers where ssn = '1'; select '1'",
    { ...customers, result: 'unknown', predicates: 'ssn', statements: 2, masked: "select id from customers where ssn = '***'; select '1'" },
  ],
]);
