/**
 * The page's policy allows no styles but those of its own files, and those that know the page's number. xterm.js makes two
 * kinds of its own as it runs.
 */

/** A document whose style elements know the number: what xterm.js takes instead of the page's own. */
export function numbered(): Document {
  const nonce = document.querySelector<HTMLElement>("meta[property='csp-nonce']")?.nonce ?? "";
  return new Proxy(document, {
    get(target, name) {
      if (name === "createElement") {
        return (kind: string) => {
          const element = target.createElement(kind);
          if (element instanceof HTMLStyleElement) element.nonce = nonce;
          return element;
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
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
