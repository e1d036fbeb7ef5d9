/** Whether a policy would be taken, without putting it in force: for `sluice check` and `sluice policy check`. */
import { buildBundle, type PolicySource } from './compile.ts';
import { problemsOf } from './error.ts';
import { probe } from './probe.ts';

/** @returns what is wrong, a line each; nothing when the policy would be taken */
export async function checkPolicy({ policy }: { readonly policy: PolicySource }): Promise<readonly string[]> {
  try {
    await probe(await buildBundle(policy));
    return [];
  } catch (error) {
    return problemsOf(error);
  }
}
