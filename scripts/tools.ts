/** The programs that set-up found or fetched, for the tests, the benches and the scripts. */
import { findEnvoy } from '../authz-service/envoy/binary.ts';
import { findOpa } from '../authz-service/policy/opa.ts';

/** @throws {Error} when there is none, with what to do about it */
export function envoyBin(): string {
  const found = findEnvoy();
  if (found.ok) return found.bin;
  throw new Error(found.problem);
}

/** @throws {Error} when there is none, with what to do about it */
export const opaBin = (): string => findOpa();
