/** Who is named where people are named: `group:<name>` or `identity:<id>`, in a decision's approvers and in the configuration's auditors. */
import type { Identity } from '../decision/request.ts';

export type Named = Pick<Identity, 'id' | 'groups'>;

/** Whether `principals` name this identity, by itself or by a group. A word of any other form names nobody. */
export const isNamed = ({ id, groups }: Named, principals: readonly string[]): boolean =>
  principals.some((principal) =>
    principal.startsWith('group:')
      ? groups.includes(principal.slice('group:'.length))
      : principal.startsWith('identity:') && principal.slice('identity:'.length) === id,
  );
