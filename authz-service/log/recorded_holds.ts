/** What the record itself tells of legal holds: by its leaves, where only the service's own notices count. */
import { TILE_WIDTH } from '../tlog/tile.ts';
import type { LogError } from './error.ts';
import { decodeLeaf, isOfService, type Leaf, NOTICE_KIND } from './leaf.ts';
import { type RecordedHolds, readHoldText } from './legal_holds.ts';
import type { ServiceNotice } from './notices.ts';
import type { LogReader } from './reader.ts';

export interface RecordedHoldsOptions {
  readonly reader: LogReader;
  /** A notice's name and text; `undefined` of any other event. */
  readonly noticeOf: (event: Buffer) => { readonly notice: string; readonly text: string } | undefined;
  /** Publishes what is recorded: that is what is read. */
  readonly publish: () => Promise<void>;
  /** Told of leaves that cannot be read: of holds that only they tell of nothing is known here. */
  readonly onUnread: (error: LogError, from: number) => void;
}

const MAY_TELL = (leaf: Leaf): boolean => leaf.kind === NOTICE_KIND && leaf.session !== '' && isOfService(leaf);

export const recordedHolds = ({ reader, noticeOf, publish, onUnread }: RecordedHoldsOptions): RecordedHolds => {
  const told = function* (records: Awaited<ReturnType<LogReader['records']>>) {
    for (const { leaf, detail } of records) {
      const said = MAY_TELL(leaf) && detail !== undefined ? noticeOf(detail.event) : undefined;
      const { session, timeUnixNanos } = leaf;
      if (said?.notice === ('legal-hold-released' satisfies ServiceNotice)) yield { session, hold: undefined };
      if (said?.notice === ('legal-hold-added' satisfies ServiceNotice))
        yield { session, hold: { session, ...readHoldText(said.text), at: new Date(Number(timeUnixNanos / 1_000_000n)).toISOString() } };
    }
  };
  return {
    size: async () => {
      // What cannot be published now is looked at by the next start.
      await publish().catch(() => {});
      return (await reader.checkpoint())?.size ?? 0;
    },
    between: async function* (from, to) {
      const first = Math.floor(Math.max(from, await reader.minimum()) / TILE_WIDTH);
      for (let bundle = first; bundle * TILE_WIDTH < to; bundle += 1)
        try {
          // Most bundles tell of none, and their events need not be read.
          if (!(await reader.entries(bundle, to)).map(decodeLeaf).some(MAY_TELL)) continue;
          yield* told((await reader.records(bundle, to)).filter(({ index }) => index >= from));
        } catch (error) {
          if (!['corrupt', 'malformed', 'pruned'].includes((error as LogError).code)) throw error;
          onUnread(error as LogError, bundle * TILE_WIDTH);
        }
    },
  };
};
