/** An analysis worker: one text at a time. It is watched and ended from outside (analyst.ts), for the parser cannot be interrupted. */
import { parentPort } from 'node:worker_threads';
import { loadModule } from 'libpg-query';
import { analyse, makeModel, ParserBroken, type Prepared } from './analyse.ts';
import { Catalog, type CatalogData, SensitiveColumns } from './catalog.ts';
import { AnalysisError, type AnalysisErrorCode } from './error.ts';
import type { Model } from './model.ts';

export interface Knowledge {
  readonly catalog: CatalogData;
  readonly sensitive: readonly string[];
}

/** `forget` and `learn` come before the job that needs them. */
export type ToWorker =
  | { readonly kind: 'learn'; readonly key: number; readonly knowledge: Knowledge }
  | { readonly kind: 'forget'; readonly key: number }
  | { readonly kind: 'analyse'; readonly key: number; readonly text: string; readonly prepared?: Prepared }
  | { readonly kind: 'origins'; readonly key: number };

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly value: unknown; readonly spent: boolean }
  | {
      readonly kind: 'failed';
      readonly code: AnalysisErrorCode;
      readonly message: string;
      readonly position: number | undefined;
      readonly spent: boolean;
    };

/** The parser's memory never shrinks: after a text of this many characters the worker is not kept. */
const LARGEST_KEPT = 262_144;

const models = new Map<number, Model>();
const answer = (message: FromWorker): void => parentPort?.postMessage(message);

parentPort?.on('message', (message: ToWorker) => {
  if (message.kind === 'learn') {
    models.set(message.key, makeModel(new Catalog(message.knowledge.catalog), new SensitiveColumns(message.knowledge.sensitive)));
  } else if (message.kind === 'forget') {
    models.delete(message.key);
  } else {
    answer(answerTo(message));
  }
});

function answerTo(job: Extract<ToWorker, { kind: 'analyse' | 'origins' }>): FromWorker {
  try {
    const model = models.get(job.key);
    if (!model) throw new AnalysisError('unsupported', 'the catalog is not known to the worker');
    if (job.kind === 'origins') return { kind: 'done', value: model.origins(), spent: false };
    return { kind: 'done', value: analyse(job.text, model, job.prepared), spent: job.text.length > LARGEST_KEPT };
  } catch (error) {
    const { code, message, position } =
      error instanceof AnalysisError ? error : new AnalysisError('too_large', 'the statement cannot be analysed');
    const spent =
      !(error instanceof AnalysisError) || error instanceof ParserBroken || (job.kind === 'analyse' && job.text.length > LARGEST_KEPT);
    return { kind: 'failed', code, message, position, spent };
  }
}

await loadModule();
answer({ kind: 'ready' });
