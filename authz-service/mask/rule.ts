/** What is to be masked and how, as the core takes it: one rule of `sluice.filter.v1.Plan`. */
import type { Masking } from '../decision/decision.ts';

export const DETECTORS = ['payment-card', 'iban', 'us-ssn', 'email', 'phone'] as const;
export type Detector = (typeof DETECTORS)[number];

export type Selector = { readonly path: string } | { readonly detector: Detector } | { readonly pattern: string };

/** `key`: 32 bytes, with the method `hash` only. */
export type MaskRule = Masking & { readonly id: string; readonly select: Selector; readonly key?: Uint8Array };
