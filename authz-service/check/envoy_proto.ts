/** Envoy's `envoy.service.auth.v3`, as much of it as is read and written (codec.ts). */
export interface RawHeader {
  readonly key: string;
  readonly value?: string;
  readonly raw_value?: Buffer;
}

/** The parts of `CheckRequest` that are read. Nothing in it is trusted to be there. */
export interface CheckRequest {
  readonly attributes?: {
    readonly source?: { readonly address?: { readonly socket_address?: { readonly address?: string; readonly port_value?: number } } };
    readonly request?: {
      readonly http?: {
        readonly method?: string;
        readonly path?: string;
        readonly host?: string;
        readonly headers?: Readonly<Record<string, string>>;
        readonly header_map?: { readonly headers?: readonly RawHeader[] };
        readonly body?: string;
        readonly raw_body?: Buffer;
      };
    };
    readonly context_extensions?: Readonly<Record<string, string>>;
  };
}

export interface HeaderOption {
  readonly header: { readonly key: string; readonly value: string };
  readonly append_action?: number;
}

export interface CheckResponse {
  readonly status: { readonly code: number };
  readonly ok_response?: { readonly headers?: readonly HeaderOption[]; readonly headers_to_remove?: readonly string[] };
  readonly denied_response?: {
    readonly status: { readonly code: number };
    readonly headers: readonly HeaderOption[];
    readonly body: string;
  };
  readonly dynamic_metadata?: { readonly fields: Readonly<Record<string, { readonly stringValue: string }>> };
}
