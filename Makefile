.PHONY: up test web fuzz bench partition ci wheel openapi api-fuzz

# Installs CCM, starts it and runs one task in a copy of examples/hello-project.
up:
	@scripts/up

# Gets what the tests need that is missing, then runs all of them.
test:
	@scripts/tools cc tmux git curl jq node chromium ip faketime zsh fish groff python systemd nextest claude prometheus-client postgresql supabase-double
	cargo test --workspace --locked --doc --quiet
	cargo nextest run --workspace --features ccm-agents/barriers --locked

# Looks at the web page in a real browser. `make web WEB="asks"` takes the tests whose file has that in its name.
web:
	@scripts/check-web $(WEB)

# Feeds made-up bytes to every parser of foreign ones, TIME seconds each (600). `make fuzz TARGET=request` takes one.
fuzz:
	@scripts/tools cc cargo-fuzz
	@scripts/fuzz $(TARGET)

# What has to pass before anything lands.
ci:
	@.ci/run

# Measures the programs of both profiles. `make bench BENCH="--json"` hands options on.
bench:
	@scripts/bench $(BENCH)

# Cuts the lines between five machines for ten seconds at a time, RUNS times (500). Needs root.
partition:
	@scripts/partition --long --runs $(or $(RUNS),500)

# Builds the wheel for pip, into dist/.
wheel:
	@scripts/wheel

# Writes the OpenAPI document anew from the code.
openapi:
	CCM_BLESS=1 cargo nextest run --locked -p ccm-daemon openapi

# Judges a running daemon by the description of its API, for a quarter of an hour and with another seed each time.
api-fuzz:
	@scripts/api-fuzz --long
