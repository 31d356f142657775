import { Refusal, type Schema, words } from "../api/client";
import { blamed, type Change, changes, differences, type Draft, type Key, noted, type Widget, widget } from "./model";

type Config = Schema["Config"];

/** What a save led to. */
export interface Saved {
  /** Keys that count only after a restart of the daemon. */
  restart: string[];
  /** What else is to be known, a sentence each. */
  said: string[];
}

/** Where a config is read and written. */
export interface Source {
  read(): Promise<{ config: Config; etag: string; schema?: unknown }>;
  /** Absent where it can only be read. */
  save?(changes: Change[], etag: string): Promise<Saved>;
}

function without<T>(all: Record<string, T>, name: string): Record<string, T> {
  const { [name]: _, ...others } = all;
  return others;
}

/** A config and what somebody is about to change in it. The draft is kept until the daemon has taken it. */
export class Form {
  config = $state.raw<Config | undefined>();
  failure = $state.raw<unknown>();
  draft = $state.raw<Draft>({});
  errors = $state.raw<Record<string, string>>({});
  refused = $state<string | undefined>();
  saving = $state(false);
  saved = $state.raw<Saved | undefined>();
  /** What somebody else changed while the draft was written. */
  theirs = $state.raw<Schema["ConfigChange"][]>([]);

  #etag = "";
  #schema = $state.raw<unknown>();
  widgets = $derived(new Map((this.config?.keys ?? []).map((key) => [key.key, widget(this.#schema, key)])));
  count = $derived(Object.keys(this.draft).length);

  constructor(private readonly source: Source) {}

  get isReadOnly(): boolean {
    return this.source.save === undefined;
  }

  how(key: Key): Widget {
    return this.widgets.get(key.key) ?? { is: "text" };
  }

  async load(): Promise<void> {
    try {
      const { config, etag, schema } = await this.source.read();
      this.#schema = schema ?? this.#schema;
      this.#etag = etag;
      this.config = config;
      this.failure = undefined;
    } catch (error) {
      this.failure = error;
    }
  }

  note(key: Key, typed: string | undefined): void {
    this.draft = noted(this.draft, key, this.how(key), typed);
    this.errors = without(this.errors, key.key);
  }

  undo(key: Key): void {
    this.draft = without(this.draft, key.key);
    this.errors = without(this.errors, key.key);
  }

  discard(): void {
    this.draft = {};
    this.errors = {};
    this.refused = undefined;
    this.theirs = [];
  }

  async save(): Promise<void> {
    if (this.saving || this.source.save === undefined || this.count === 0) return;
    this.saving = true;
    this.refused = undefined;
    this.saved = undefined;
    const sent = changes(this.draft, this.widgets);
    try {
      this.saved = await this.source.save(sent, this.#etag);
      this.discard();
      await this.load();
    } catch (error) {
      if (error instanceof Refusal && error.status === 412) await this.#merge();
      else {
        this.errors = error instanceof Refusal && error.problem ? blamed(error.problem, sent) : {};
        const isBlamed = Object.keys(this.errors).length > 0;
        this.refused = isBlamed ? "Nothing was saved, because a value is not allowed." : words(error);
      }
    }
    this.saving = false;
  }

  async #merge(): Promise<void> {
    const before = this.config?.keys ?? [];
    await this.load();
    this.theirs = differences(before, this.config?.keys ?? []);
    this.refused = "Somebody changed the file meanwhile, so nothing was saved. Your changes are still here.";
  }
}
