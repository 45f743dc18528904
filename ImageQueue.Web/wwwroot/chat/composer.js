// Sends a prompt exactly once, however often the button is pressed or the connection breaks.

import { ApiError, submitImage } from './api.js';
import { newConversationId, newKey } from './ids.js';
import * as memory from './memory.js';
import { duration, longestPrompt, number, setText, text } from './page.js';

const element = id => document.getElementById(id);

const repeated = [
  'negative_prompt', 'width', 'height', 'steps', 'cfg_scale', 'distilled_cfg_scale', 'sampler', 'scheduler', 'model', 'checkpoint',
];

/** The settings that a request may name. */
const pick = settings => Object.fromEntries(repeated.filter(key => settings[key] != null).map(key => [key, settings[key]]));

export class Composer {
  #form = element('composer');
  #prompt = element('prompt');
  #send = element('send');
  #model = element('model'); // Null with a single model.
  #problem = element('send-problem');
  #conversationId = null;
  #attempt = null;
  #sending = false;
  #visit = 0;
  #otherSize = null;
  #onSent;
  #resendAt = 0;
  #resendTimer = 0;

  /** @param onSent (row, { conversationId, prompt, askedAt, isHere }): isHere unless another conversation was opened meanwhile. */
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
    this.#showProblem('');
    this.#changed();
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

  /** Requests the same image with another seed; the draft stays. */
  async again(prompt, settings) {
    const { seed, ...same } = settings;
    const [conversationId, visit, askedAt] = [this.#conversationId, this.#visit, performance.now()];
    try {
      const row = await submitImage(conversationId, { username: memory.name(), prompt, ...pick(same) }, newKey());
      this.#onSent(row, { conversationId, prompt, askedAt, isHere: visit === this.#visit });
    } catch (error) {
      if (visit === this.#visit) this.#showProblem(error instanceof ApiError ? error.message : text('NotSent'));
    }
  }

  /** The text is kept until the server has accepted it. */
  async #submit() {
    const prompt = this.#prompt.value.trim();
    if (this.#sending || !prompt || prompt.length > longestPrompt || !this.#checkAdvanced()) return;

    const image = { username: memory.name(), ...this.#image(prompt) };
    const body = JSON.stringify(image);
    // While it is unknown whether the request arrived, resend it to the same conversation with the same key.
    if (this.#attempt?.body !== body)
      this.#attempt = { body, key: newKey(), conversationId: this.#conversationId ?? newConversationId(image.username) };
    const attempt = this.#attempt;
    const startedIn = this.#conversationId;
    const visit = this.#visit;
    this.#keepDraft();

    this.#setSending(true);
    this.#showProblem('');
    let problem = '';
    let resend = null;
    try {
      const askedAt = performance.now();
      const row = await submitImage(attempt.conversationId, image, attempt.key);
      memory.keepDraft(startedIn, null);
      this.#onSent(row, { conversationId: attempt.conversationId, prompt, askedAt, isHere: visit === this.#visit });
    } catch (error) {
      problem = error instanceof ApiError ? error.message : text('NotSent');
      if (error.status === 429 && error.retryAfter > 0) resend = error.retryAfter;
      else if (!(error instanceof ApiError)) resend = 'online';
      else if (!error.isUncertain) attempt.body = null;
    }

    this.#sending = false;
    if (visit === this.#visit) {
      if (!problem) {
        this.#attempt = null;
        this.#prompt.value = '';
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
      width: this.#otherSize?.width ?? Number(size?.dataset.width ?? 1024),
      height: this.#otherSize?.height ?? Number(size?.dataset.height ?? 1024),
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
    if (typeof resend !== 'number') return;
    this.#resendAt = performance.now() + resend * 1000;
    const tick = () => {
      const left = Math.ceil((this.#resendAt - performance.now()) / 1000);
      if (left > 0) setText(element('send-problem-text'), text('SendsIn', { time: duration(left) }));
      else this.#submit();
    };
    tick();
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
