/**
 * Names for requests that must count once. The same content keeps its name, so pressing again or trying again after a lost
 * answer creates nothing twice; other content is another request. `crypto.randomUUID` is not there over plain HTTP.
 */
export class Once {
  #content: string | undefined;
  #key = "";

  for(content: unknown): string {
    const text = JSON.stringify(content);
    if (text !== this.#content) {
      this.#content = text;
      this.#key = Array.from(crypto.getRandomValues(new Uint8Array(16)), hex).join("");
    }
    return this.#key;
  }

  /** The request was answered: the same content again is meant as a new one. */
  done(): void {
    this.#content = undefined;
  }
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
