/** As much of a browser as a log-in page of `oidc-provider` needs: cookies, redirects, forms. */

export interface Page {
  readonly url: string;
  readonly html: string;
  /** Of its form: where it goes and what is filled in already. */
  readonly action: string;
  readonly fields: Readonly<Record<string, string>>;
}

export class Browser {
  readonly #cookies = new Map<string, string>();

  async visit(url: string, form?: Readonly<Record<string, string>>): Promise<Page> {
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; '), accept: 'text/html' },
      ...(form && { method: 'POST', body: new URLSearchParams(form) }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      this.#cookies.set(name, value);
    }
    const next = response.headers.get('location');
    if (next) return await this.visit(new URL(next, url).href);
    const html = await response.text();
    const [, action = ''] = /<form[^>]*action="([^"]*)"/.exec(html) ?? [];
    const hidden = [...html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)].map(([, name, value]) => [name, value]);
    return { url, html, action: new URL(action.replaceAll('&amp;', '&'), url).href, fields: Object.fromEntries(hidden) };
  }

  submit = ({ action, fields }: Page, more: Readonly<Record<string, string>> = {}): Promise<Page> =>
    this.visit(action, { ...fields, ...more });
}
