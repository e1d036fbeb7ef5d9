// The masking core as a plain module for Node: authz-service/mask/mask.ts is its only caller.
import { ByteSink, createMasker, maskText } from './masker';
import { decodePlan } from './plan';

const out = new ByteSink();

export function skeleton(): bool {
  const plan = decodePlan(0, 0);
  return plan != null && createMasker('', plan) != null && maskText(plan, 0, 0, out) == 0;
}
