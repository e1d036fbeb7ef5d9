/** What the service and the worker thread of its export say to each other. All of it can be cloned. */
import type { DeliveryOptions, DeliveryStatus } from './delivery.ts';
import type { GoneLeaf } from './format.ts';
import type { Place } from './places.ts';

/** One entry of `export` in the configuration, and what the service adds. */
export interface ExportConfig extends Omit<DeliveryOptions, 'dir' | 'format'> {
  readonly format: Omit<DeliveryOptions['format'], 'origin' | 'version'>;
  readonly timeoutMs: number;
  readonly place: Place;
}

export interface WorkerStart {
  readonly destinations: readonly ExportConfig[];
  readonly dir: string;
  readonly origin: string;
  readonly version: string;
}

/** Leaves travel in one buffer, which is handed over. */
export interface PackedLeaves {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly indices: readonly number[];
  /** Where each leaf ends. */
  readonly ends: readonly number[];
  /** Leaves between and behind these that have no event any more. */
  readonly gone: readonly GoneLeaf[];
}

export type ToWorker =
  | { readonly kind: 'leaves'; readonly call: number; readonly leaves: PackedLeaves; readonly size: number }
  | { readonly kind: 'unreadable'; readonly call: number; readonly reason: string }
  | { readonly kind: 'stop' };

export type FromWorker =
  | { readonly kind: 'read'; readonly call: number; readonly from: number; readonly events: number; readonly bytes: number }
  /** Answered with leaves. */
  | { readonly kind: 'recall'; readonly call: number; readonly session: string; readonly before: number }
  | { readonly kind: 'status'; readonly name: string; readonly status: DeliveryStatus }
  | { readonly kind: 'log'; readonly level: 'warn' | 'error'; readonly fields: object; readonly message: string }
  | { readonly kind: 'stopped' };
