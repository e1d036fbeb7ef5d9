/** What is to be masked and how, as the core takes it: one rule of `sluice.filter.v1.Plan`. */
import type { Masking } from '../decision/decision.ts';

export const DETECTORS = ['payment-card', 'iban', 'us-ssn', 'email', 'phone'] as const;
export type Detector = (typeof DETECTORS)[number];

export type Selector = { readonly path: string } | { readonly detector: Detector } | { readonly pattern: string };

/** `key`: 32 bytes, with the method `hash` only. */
export type MaskRule = Masking & { readonly id: string; readonly select: Selector; readonly key?: Uint8Array };

/** Members that hold a secret by their very name. */
const SECRET_MEMBERS = [
  'password',
  'passwd',
  'secret',
  'client_secret',
  'token',
  'access_token',
  'refresh_token',
  'id_token',
  'api_key',
  'apikey',
  'ssn',
  'cvv',
  'cvc',
  'pin',
];

const FULL = { method: 'full', keepFirst: 0, keepLast: 0 } as const;

/** What the gateway masks, whatever the policy says, in everything of a request that it records. */
export const RECORD_RULES: readonly MaskRule[] = [
  ...SECRET_MEMBERS.map((name) => ({ id: name, select: { path: `**.${name}` }, ...FULL })),
  ...DETECTORS.map((detector) => ({ id: detector, select: { detector }, ...FULL })),
];
