// Sends a prompt exactly once, however often the button is pressed or the connection breaks.

import { announce } from './announcer.js';
import { ApiError, submitImage } from './api.js';
import { newConversationId, newKey } from './ids.js';
import * as memory from './memory.js';
import { duration, longestPrompt, number, setText, text } from './page.js';
import { StartImage } from './start-image.js';

const element = id => document.getElementById(id);

const repeated = [
  'negative_prompt', 'width', 'height', 'steps', 'cfg_scale', 'distilled_cfg_scale', 'sampler', 'scheduler', 'model', 'checkpoint',
];

/** The settings that a request may name. */
const pick = settings => Object.fromEntries(repeated.filter(key => settings[key] != null).map(key => [key, settings[key]]));

/** Several images are answered together. */
const rowsOf = answer => answer.messages ?? [answer];

export class Composer {
  #form = element('composer');
  #prompt = element('prompt');
  #send = element('send');
  #model = element('model'); // Null with a single model.
  #start = new StartImage({ onChange: () => this.#changed(), onProblem: sentence => this.#showProblem(sentence) });
  #problem = element('send-problem');
  #conversationId = null;
  #attempt = null;
  #sending = false;
  #visit = 0;
  #otherSize = null;
  #onSent;
  #resendAt = 0;
  #resendTimer = 0;

  /** @param onSent (rows, { conversationId, prompt, askedAt, isHere }): isHere unless another conversation was opened meanwhile. */
  constructor(onSent) {
    this.#onSent = onSent;
    this.#form.addEventListener('submit', event => {
      event.preventDefault();
      this.#submit();
    });
    this.#prompt.addEventListener('keydown', event => {
      // Enter belongs to an input method while it composes.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    });
    this.#prompt.addEventListener('input', () => {
      this.#showProblem('');
      this.#changed();
    });
    addEventListener('online', () => this.#problem.dataset.resend === 'online' && this.#submit());
    element('advanced-toggle').addEventListener('click', () => this.#showAdvanced(element('advanced').hidden));
    for (const size of this.#sizes()) {
      size.addEventListener('change', () => {
        this.#otherSize = null;
        memory.setPreferredSize(size.value);
      });
    }
    const preferred = this.#sizes().find(size => size.value === memory.preferredSize());
    if (preferred) preferred.checked = true;
    for (const size of this.#sizes()) size.usual = { width: Number(size.dataset.width), height: Number(size.dataset.height) };
    this.#model?.addEventListener('change', () => {
      memory.setPreferredModel(this.#model.value);
      this.#fitSizes();
    });
    this.#pickModel(memory.preferredModel());
  }

  /** Shows the draft of a conversation; null is one that does not exist yet. */
  open(conversationId) {
    this.#visit++;
    this.#conversationId = conversationId;
    const draft = memory.draft(conversationId);
    this.#prompt.value = draft.text ?? '';
    this.#attempt = draft.attempt ?? null;
    this.#start.clear();
    this.#showProblem('');
    this.#changed();
  }

  get conversationId() {
    return this.#conversationId;
  }

  /** The new conversation now has this id. */
  adopt(conversationId) {
    this.#conversationId = conversationId;
  }

  focus() {
    this.#prompt.focus({ preventScroll: true });
  }

  /** Starts a new prompt from one that was sent. */
  fill(prompt, settings = {}) {
    this.#prompt.value = prompt;
    this.#pickModel(settings.model);
    const size = this.#sizes().find(one => one.dataset.width === String(settings.width) && one.dataset.height === String(settings.height));
    if (size) size.checked = true;
    // A size without a choice is kept until one is chosen.
    this.#otherSize = !size && settings.width && settings.height ? { width: settings.width, height: settings.height } : null;
    if (this.#otherSize) for (const one of this.#sizes()) one.checked = false;
    element('negative-prompt').value = settings.negative_prompt ?? '';
    element('steps').value = settings.steps ?? '';
    element('seed').value = settings.seed >= 0 ? settings.seed : '';
    if (settings.negative_prompt || settings.seed >= 0) this.#showAdvanced(true);
    this.#changed();
    this.focus();
    this.#prompt.setSelectionRange(prompt.length, prompt.length);
  }

  /** Takes over an image's settings and keeps the prompt. */
  useSettings(settings) {
    this.fill(this.#prompt.value, settings);
  }

  /** Starts a variation of a finished image, which keeps the image's shape. */
  vary(message) {
    const { width, height, seed, ...settings } = message.settings;
    this.fill(message.prompt, settings);
    this.#start.useMessage(message).catch(() => this.#showProblem(text('ImageNotLoaded')));
  }

  /** Requests the same image with another seed, from the same source. An upscale has no settings. */
  async again({ prompt, settings, source }) {
    const { job_id, ...start } = source ?? {};
    const visit = this.#visit;
    try {
      await this.request({ prompt, ...(!start.upscale && pick(settings)), ...(source && { source: start }) }, prompt);
    } catch (error) {
      if (visit === this.#visit) this.#showProblem(error instanceof ApiError ? error.message : text('NotSent'));
    }
  }

  /** Requests an image in the open conversation, or in another one that was open; the draft stays. */
  async request(image, prompt, conversationId = this.#conversationId) {
    const askedAt = performance.now();
    const answer = await submitImage(conversationId, { username: memory.name(), ...image }, newKey());
    this.#onSent(rowsOf(answer), { conversationId, prompt, askedAt, isHere: conversationId === this.#conversationId });
  }

  /** The text is kept until the server has accepted it. */
  async #submit() {
    const prompt = this.#prompt.value.trim();
    if (this.#sending || !prompt || prompt.length > longestPrompt || !this.#checkAdvanced()) return;

    const username = memory.name();
    const startedIn = this.#conversationId;
    const conversationId = startedIn ?? this.#attempt?.conversationId ?? newConversationId(username);
    const [visit, asked, earlier] = [this.#visit, this.#image(prompt), this.#attempt];
    let attempt = null;

    this.#setSending(true);
    this.#showProblem('');
    let problem = '';
    let resend = null;
    try {
      const source = await this.#start.source(conversationId);
      const image = { username, ...asked, ...(source && { source }) };
      const body = JSON.stringify(image);
      // While it is unknown whether the request arrived, resend it to the same conversation with the same key.
      attempt = earlier?.body === body ? earlier : { body, key: newKey(), conversationId };
      if (visit === this.#visit) this.#attempt = attempt;
      memory.keepDraft(startedIn, { text: prompt, attempt });
      const askedAt = performance.now();
      const answer = await submitImage(conversationId, image, attempt.key);
      memory.keepDraft(startedIn, null);
      this.#onSent(rowsOf(answer), { conversationId, prompt, askedAt, isHere: visit === this.#visit });
    } catch (error) {
      problem = error instanceof ApiError ? error.message : text('NotSent');
      if (error.status === 429 && error.retryAfter > 0) [problem, resend] = [error.reason, error.retryAfter];
      else if (!(error instanceof ApiError)) resend = 'online';
      else if (!error.isUncertain && attempt) attempt.body = null;
      if (error.code === 'source_not_found') this.#start.forgetUpload();
    }

    this.#sending = false;
    if (visit === this.#visit) {
      if (!problem) {
        this.#attempt = null;
        this.#prompt.value = '';
        this.#start.clear();
        element('seed').value = '';
      }
      this.#showProblem(problem, resend);
    }
    this.#setSending(false);
  }

  #image(prompt) {
    const size = this.#sizes().find(one => one.checked);
    const optional = {
      negative_prompt: element('negative-prompt').value.trim() || null,
      steps: element('steps').value === '' ? null : element('steps').valueAsNumber,
      seed: element('seed').value === '' ? null : element('seed').valueAsNumber,
    };
    return {
      prompt,
      ...(this.#model && { model: this.#model.value }),
      ...(!this.#start.isThere && {
        width: this.#otherSize?.width ?? Number(size?.dataset.width ?? 1024),
        height: this.#otherSize?.height ?? Number(size?.dataset.height ?? 1024),
      }),
      ...(element('images').value !== '1' && { n: Number(element('images').value) }),
      ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== null)),
    };
  }

  #checkAdvanced() {
    const wrong = [element('steps'), element('seed'), element('negative-prompt')].find(input => !input.checkValidity());
    if (!wrong) return true;
    this.#showAdvanced(true);
    wrong.reportValidity();
    return false;
  }

  #changed() {
    const length = this.#prompt.value.trim().length;
    const left = longestPrompt - length;
    const count = element('count');
    count.classList.toggle('over', left < 0);
    setText(count, left < 0
      ? text('CharactersOver', { count: number(-left) })
      : left <= longestPrompt / 10 ? text('CharactersLeft', { count: number(left) }) : '');
    this.#prompt.setAttribute('aria-invalid', String(left < 0));
    this.#send.disabled = !this.#sending && (length === 0 || left < 0);
    this.#grow();
    if (!this.#sending) this.#keepDraft();
  }

  /** Grows with its text, for browsers without field-sizing. */
  #grow() {
    if (CSS.supports('field-sizing', 'content')) return;
    this.#prompt.style.height = 'auto';
    this.#prompt.style.height = `${this.#prompt.scrollHeight}px`;
  }

  #keepDraft() {
    const value = this.#prompt.value;
    memory.keepDraft(this.#conversationId, value ? { text: value, attempt: this.#attempt } : null);
  }

  #setSending(isSending) {
    this.#sending = isSending;
    this.#form.classList.toggle('sending', isSending);
    this.#form.setAttribute('aria-busy', String(isSending));
    this.#send.setAttribute('aria-label', text(isSending ? 'Sending' : 'Send'));
    this.#prompt.readOnly = isSending;
    this.#changed();
  }

  /** @param resend seconds after which it is sent by itself, or 'online': as soon as there is a connection. */
  #showProblem(sentence, resend = null) {
    clearInterval(this.#resendTimer);
    this.#problem.dataset.resend = resend === 'online' ? resend : '';
    this.#problem.hidden = !sentence;
    setText(element('send-problem-text'), sentence);
    element('resend').hidden = typeof resend !== 'number';
    if (typeof resend !== 'number') return;
    this.#resendAt = performance.now() + resend * 1000;
    const tick = () => {
      const left = Math.ceil((this.#resendAt - performance.now()) / 1000);
      if (left > 0) setText(element('resend'), text('SendsIn', { time: duration(left) }));
      else this.#submit();
    };
    tick();
    announce('resend', element('resend').textContent); // Once, not each second.
    this.#resendTimer = setInterval(tick, 1000);
  }

  #showAdvanced(show) {
    element('advanced').hidden = !show;
    element('advanced-toggle').setAttribute('aria-expanded', String(show));
  }

  /** Picks a model, if it is still offered. */
  #pickModel(name) {
    const option = [...this.#model?.options ?? []].find(one => one.value === name);
    if (option) option.selected = true;
    this.#fitSizes();
  }

  /** Scales each shape to the number of pixels the model was trained on. */
  #fitSizes() {
    const { width, height } = this.#model?.selectedOptions[0]?.dataset ?? {};
    if (!width) return;
    const scale = Math.sqrt(width * height) / 1024;
    const fit = side => Math.min(2048, Math.max(64, Math.round(side * scale / 64) * 64));
    for (const size of this.#sizes()) {
      [size.dataset.width, size.dataset.height] = [fit(size.usual.width), fit(size.usual.height)];
      size.parentElement.title = `${size.parentElement.querySelector('.size-name').textContent} · ${size.dataset.width} × ${size.dataset.height}`;
    }
  }

  #sizes() {
    return [...this.#form.querySelectorAll('input[name=size]')];
  }
}
