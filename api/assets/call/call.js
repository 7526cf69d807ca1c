// A call from the browser: the microphone up, the agent's voice down, and what was said and how fast.

const RATE = 16000;
const $ = (id) => document.getElementById(id);
const [setup, key, agent, callButton, muteButton] = ["setup", "key", "agent", "call", "mute"].map($);
const level = document.querySelector("#level span");

let call = null;

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

async function ask(path, options = {}) {
  const headers = { "X-API-Key": key.value.trim(), "Content-Type": "application/json" };
  const answer = await fetch(path, { ...options, headers });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? body.title ?? `status ${answer.status}`);
  return body;
}

setup.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const agents = (await ask("/api/agents")).filter((one) => one.is_active);
    agent.replaceChildren(...agents.map((one) => new Option(one.name, one.id)));
    agent.disabled = callButton.disabled = agents.length === 0;
    say(agents.length ? "Choose an agent, and call." : "This tenant has no active agent.", !agents.length);
    if (agents.length) agent.focus();
  } catch (error) {
    say(error.message, true);
  }
});

// The agent's voice: pieces of sound one after the other, all of which can be taken back.
class Speaker {
  constructor(context) {
    this.context = context;
    this.until = 0;
    this.playing = new Set();
  }

  play(bytes) {
    const samples = new Int16Array(bytes);
    if (samples.length === 0) return;
    const buffer = this.context.createBuffer(1, samples.length, RATE);
    const channel = buffer.getChannelData(0);
    samples.forEach((sample, at) => (channel[at] = sample / 0x8000));
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.context.destination);
    source.addEventListener("ended", () => this.playing.delete(source));
    // A little late rather than with gaps.
    this.until = Math.max(this.until, this.context.currentTime + 0.04);
    source.start(this.until);
    this.until += buffer.duration;
    this.playing.add(source);
  }

  clear() {
    for (const source of this.playing) source.stop();
    this.playing.clear();
    this.until = 0;
  }
}

class Call {
  static async begin() {
    const context = new AudioContext({ sampleRate: RATE });
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
      await context.audioWorklet.addModule("/call/microphone.js");
      const { ticket } = await ask("/api/ws-tickets", {
        method: "POST",
        body: JSON.stringify({ agent_id: agent.value }),
      });
      return new Call(context, stream, ticket);
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      await context.close();
      throw error;
    }
  }

  constructor(context, stream, ticket) {
    Object.assign(this, { context, stream, muted: false, partial: {} });
    this.speaker = new Speaker(context);
    const url = new URL("/ws/voice-browser", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("agent_id", agent.value);
    url.searchParams.set("ticket", ticket);
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("message", ({ data }) => this.heard(data));
    this.socket.addEventListener("close", ({ code }) => this.ended(code));
    this.microphone = new AudioWorkletNode(context, "microphone");
    context.createMediaStreamSource(stream).connect(this.microphone);
    this.microphone.port.onmessage = ({ data }) => this.spoken(data);
  }

  spoken(samples) {
    if (this.muted) samples.fill(0);
    let peak = 0;
    for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
    level.style.transform = `scaleX(${(peak / 0x8000).toFixed(2)})`;
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(samples.buffer);
  }

  heard(data) {
    if (data instanceof ArrayBuffer) return this.speaker.play(data);
    const frame = JSON.parse(data);
    switch (frame.type) {
      case "session_started":
        return say(`Connected to ${frame.agent.name}. Speak.`);
      case "transcript":
        return this.line(frame.role, frame.content, frame.is_final);
      case "tool_call":
        // Told when it begins, and once more with its result.
        return !("result" in frame) && this.line("tool", `${frame.name}(${JSON.stringify(frame.arguments)})`, true);
      case "interrupted":
        return this.speaker.clear();
      case "turn":
        return latencies(frame.latency);
      case "session_ended":
        this.farewell = `The call is over: ${frame.reason}, ${Math.round(frame.duration)} s.`;
        return;
      case "error":
        this.farewell = frame.message;
        this.failed = true;
    }
  }

  line(role, content, isFinal) {
    let line = this.partial[role];
    if (!line) {
      line = document.createElement("li");
      line.className = role;
      $("transcript").append(line);
    }
    line.textContent = content;
    line.classList.toggle("partial", !isFinal);
    this.partial[role] = isFinal ? null : line;
    line.scrollIntoView({ block: "nearest" });
  }

  mute(muted) {
    this.muted = muted;
    muteButton.setAttribute("aria-pressed", muted);
    muteButton.textContent = muted ? "Unmute" : "Mute";
  }

  hangUp() {
    this.socket.close(1000);
  }

  ended(code) {
    this.stream.getTracks().forEach((track) => track.stop());
    this.microphone.port.onmessage = null;
    // What was sent last may still be heard.
    setTimeout(() => this.context.close(), 500);
    level.style.transform = "scaleX(0)";
    if (call === this) show(null);
    const lost = code !== 1000 && !this.farewell;
    say(this.farewell ?? (lost ? "The connection was lost." : "You hung up."), this.failed || lost);
  }
}

function latencies(latency) {
  const names = Object.keys(latency ?? {}).filter((name) => typeof latency[name] === "number");
  const cells = (tag, texts) =>
    texts.map((text) => Object.assign(document.createElement(tag), { textContent: text }));
  $("names").replaceChildren(...cells("th", names.map((name) => name.replace(/_ms$/, "").replaceAll("_", " "))));
  const row = document.createElement("tr");
  row.append(...cells("td", names.map((name) => Math.round(latency[name]))));
  $("turns").prepend(row);
  while ($("turns").rows.length > 10) $("turns").lastChild.remove();
}

function show(running) {
  call = running;
  callButton.textContent = running ? "Hang up" : "Call";
  callButton.classList.toggle("active", Boolean(running));
  muteButton.disabled = !running;
  if (running) running.mute(false);
}

callButton.addEventListener("click", async () => {
  if (call) return call.hangUp();
  callButton.disabled = true;
  say("Calling…");
  $("transcript").replaceChildren();
  try {
    show(await Call.begin());
  } catch (error) {
    say(error.name === "NotAllowedError" ? "The microphone may not be used." : error.message, true);
  } finally {
    callButton.disabled = false;
  }
});

muteButton.addEventListener("click", () => call?.mute(!call.muted));
