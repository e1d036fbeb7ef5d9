/** What PostgreSQL calls a result column that has been given no name. */
import { listOf, namesOf, nodeOf, textOf, unwrap } from './tree.ts';

const UNNAMED = '?column?';

const OF_KIND: Readonly<Record<string, string>> = {
  A_ArrayExpr: 'array',
  RowExpr: 'row',
  CoalesceExpr: 'coalesce',
  GroupingFunc: 'grouping',
  XmlSerialize: 'xmlserialize',
  JsonObjectConstructor: 'json_object',
  JsonArrayConstructor: 'json_array',
  JsonArrayQueryConstructor: 'json_array',
  JsonObjectAgg: 'json_objectagg',
  JsonArrayAgg: 'json_arrayagg',
  JsonParseExpr: 'json',
  JsonScalarExpr: 'json_scalar',
  JsonSerializeExpr: 'json_serialize',
  MergeSupportFunc: 'merge_action',
};

export const columnName = (value: unknown): string => given(value) ?? UNNAMED;

function given(value: unknown): string | undefined {
  const node = nodeOf(value);
  if (!node) return undefined;
  const { kind, fields } = node;
  switch (kind) {
    case 'ColumnRef':
      return namesOf(fields.fields).at(-1);
    case 'A_Indirection':
      return namesOf(fields.indirection).at(-1) ?? given(fields.arg);
    case 'FuncCall':
      return namesOf(fields.funcname).at(-1);
    case 'TypeCast':
      return given(fields.arg) ?? namesOf(unwrap(fields.typeName, 'TypeName')?.names).at(-1);
    case 'CollateClause':
      return given(fields.arg);
    case 'CaseExpr':
      return given(fields.defresult) ?? 'case';
    case 'A_Expr':
      return fields.kind === 'AEXPR_NULLIF' ? 'nullif' : undefined;
    case 'MinMaxExpr':
      return fields.op === 'IS_LEAST' ? 'least' : 'greatest';
    case 'SQLValueFunction':
      return textOf(fields.op)
        .replace(/^SVFOP_/, '')
        .replace(/_N$/, '')
        .toLowerCase();
    case 'XmlExpr':
      return textOf(fields.op).replace(/^IS_/, '').toLowerCase();
    case 'JsonFuncExpr':
      return textOf(fields.column_name) || textOf(fields.op).replace('_OP', '').toLowerCase();
    case 'SubLink':
      return subLinkName(textOf(fields.subLinkType), fields.subselect);
    default:
      return OF_KIND[kind];
  }
}

function subLinkName(type: string, subselect: unknown): string | undefined {
  if (type === 'EXISTS_SUBLINK') return 'exists';
  if (type === 'ARRAY_SUBLINK') return 'array';
  if (type !== 'EXPR_SUBLINK') return undefined;
  const [first] = listOf(nodeOf(subselect)?.fields.targetList);
  const target = unwrap(first, 'ResTarget');
  return target ? textOf(target.name) || given(target.val) : undefined;
}
