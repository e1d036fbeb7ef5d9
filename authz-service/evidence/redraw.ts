/** A page of evidence drawn again, by this version, from nothing but the evidence in it. */
import { isSome, type MissingEvents, type SessionExtent } from '../verify/report.ts';
import type { ProvenLeaf } from '../verify/session.ts';
import { EvidenceError, parseHead, parseLeaf } from './bundle.ts';
import { writePage } from './collect.ts';
import { BEGINNING, DRAWING, END_MARK, HEAD_MARK, LEAF_MARK } from './page.ts';
import { PageReader } from './page_reader.ts';

interface Found {
  readonly extent: SessionExtent;
  readonly missing: MissingEvents;
}

/**
 * The page, piece by piece. It proves no more than the one that it comes of, which is to be verified before, and this one after: the file may have been changed between.
 * Extent and what is missing are as the verification of the page has found them.
 * Throws an `EvidenceError` when it is none, and as `bytes` does.
 */
export async function* redraw(bytes: AsyncIterable<Uint8Array>, { extent, missing }: Found): AsyncGenerator<string, void> {
  const page = new PageReader(bytes);
  try {
    if (!(await page.takes(BEGINNING + HEAD_MARK))) throw new EvidenceError('the file is no evidence bundle');
    const head = parseHead(await page.upTo(END_MARK));
    yield* writePage({ head: { ...head, drawing: DRAWING, extent, ...(isSome(missing) && { missing }) }, leaves: () => leavesOf(page) });
  } finally {
    await page.close();
  }
}

async function* leavesOf(page: PageReader): AsyncGenerator<ProvenLeaf, void> {
  while (await page.skipPast(LEAF_MARK)) yield parseLeaf(await page.upTo(END_MARK));
}
