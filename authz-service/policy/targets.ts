/** The operator's data: read from YAML or JSON, checked against its schema, with the line of what is wrong. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Ajv, type ErrorObject } from 'ajv';
import { isNode, LineCounter, parseDocument } from 'yaml';
import { PolicyBuildError } from './error.ts';

const SCHEMA = new URL('../../policies/schemas/targets.json', import.meta.url);
const validate = new Ajv({ allErrors: true, strict: false }).addSchema(JSON.parse(readFileSync(SCHEMA, 'utf8')), 'targets').compile({
  type: 'object',
  required: ['targets'],
  additionalProperties: false,
  properties: { targets: { $ref: 'targets' } },
});

/** @returns the document of the file @throws {PolicyBuildError} with a line for each thing that is wrong */
export async function readTargets(file: string): Promise<{ readonly targets: unknown }> {
  const lines = new LineCounter();
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new PolicyBuildError([`${file}: cannot be read (${error.code ?? error.message})`]);
  });
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, maxAliasCount: 100 } as Parameters<typeof parseDocument>[1]);
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  if (document.errors.length > 0)
    throw new PolicyBuildError(document.errors.map((error) => `${at(error.pos[0])}: ${error.message.split('\n', 1)[0]}`));
  const value: unknown = document.toJS();
  if (validate(value)) return value as { targets: unknown };
  const said = mostSpecific(validate.errors ?? []).map((error) => {
    const path = error.instancePath
      .split('/')
      .slice(1)
      .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
    const node = document.getIn(path, true);
    return `${at(isNode(node) ? (node.range?.[0] ?? 0) : 0)}: ${path.join('.') || 'the file'}: ${wording(error)}`;
  });
  throw new PolicyBuildError([...new Set(said)]);
}

/** Alternatives that do not apply are noise beside the error that says which alternative was meant. */
function mostSpecific(errors: readonly ErrorObject[]): ErrorObject[] {
  const useful = errors.filter(({ keyword }) => keyword !== 'const' && keyword !== 'oneOf' && keyword !== 'anyOf' && keyword !== 'if');
  return useful.length > 0 ? useful : [...errors];
}

function wording({ keyword, params, message }: ErrorObject): string {
  switch (keyword) {
    case 'additionalProperties':
      return `unknown key \`${params.additionalProperty}\``;
    case 'enum':
      return `must be one of ${params.allowedValues.join(', ')}`;
    default:
      return message ?? keyword;
  }
}
