import "./styles/tokens.css";
import "./styles/base.css";

import { mount } from "svelte";

import App from "./App.svelte";
import { onSignedOut } from "./api/client";
import { takeKey } from "./api/session";
import { route } from "./route.svelte";
import { live } from "./state/live.svelte";
import { machine } from "./state/machine.svelte";
import { sharing } from "./state/sharing.svelte";
import { settings } from "./state/settings.svelte";

takeKey();
settings.start();
onSignedOut(() => live.signedOut());
route.start();
machine.start();
sharing.start();
live.start();

mount(App, { target: document.getElementById("app")! });
