/**
 * The page's policy allows no styles but those of its own files, and those that know the page's number. xterm.js makes two
 * kinds of its own as it runs.
 */

/** What `make` does, with style elements that know the number. xterm.js has an option for this, which it does not use for all. */
export function numbered(make: () => void): void {
  const nonce = document.querySelector<HTMLElement>("meta[property='csp-nonce']")?.nonce ?? "";
  const plain = document.createElement.bind(document);
  document.createElement = (kind: string, options?: ElementCreationOptions) => {
    const element = plain(kind, options);
    if (element instanceof HTMLStyleElement) element.nonce = nonce;
    return element;
  };
  try {
    make();
  } finally {
    // What is its own hides the prototype's.
    Reflect.deleteProperty(document, "createElement");
  }
}

/**
 * Colours beside the 256 it writes as the attribute `style` of a span, which the policy refuses whatever it says. As
 * declarations they are allowed, and the same.
 */
export function declareStyles(): void {
  const plain = Element.prototype.setAttribute;
  HTMLSpanElement.prototype.setAttribute = function (name: string, value: string) {
    if (name === "style") this.style.cssText = value;
    else plain.call(this, name, value);
  };
}
