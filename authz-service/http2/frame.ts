/** What frames are made of: the numbers of RFC 9113. */

/** RFC 9113, section 6. */
export const FRAME = {
  data: 0,
  headers: 1,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;
export const PADDED = 0x8;
export const PRIORITY = 0x20;

/** Section 7. */
export const CODE = {
  noError: 0,
  protocol: 1,
  flowControl: 3,
  streamClosed: 5,
  frameSize: 6,
  compression: 9,
  enhanceYourCalm: 11,
} as const;

/** Section 6.5.2. */
export const SETTING = { enablePush: 2, maxConcurrentStreams: 3, initialWindowSize: 4, maxFrameSize: 5, maxHeaderListSize: 6 } as const;

export const FRAME_HEADER = 9;
export const SETTING_BYTES = 6;
/** What a frame may carry while nothing else was agreed on; more is not offered. */
export const FRAME_BYTES = 16_384;
export const MAX_FRAME_BYTES = 0xff_ffff;
export const FIRST_WINDOW = 65_535;
export const MAX_WINDOW = 0x7fff_ffff;
