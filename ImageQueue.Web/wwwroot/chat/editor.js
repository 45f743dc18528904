// The dialog in which a part of an image is marked and described anew.

import { uploadImage } from './api.js';
import { Mask } from './mask.js';
import { address, longestPrompt, percent, setText, text } from './page.js';
import { loadImage } from './pixels.js';
import { showToast } from './toast.js';

const element = id => document.getElementById(id);
const dialog = element('editor');
const whole = element('editor-whole');
const strength = element('editor-strength');
const prompt = element('editor-prompt');
const mask = new Mask(element('editor-mask'), changed);

/** As the API's default with a mask. */
const usualStrength = 75;

let editing = null;

/** @param send (body) submits it; conversationId is where its mask belongs. */
export async function openEditor(message, conversationId, send) {
  const opened = { message, conversationId, send, isSending: false };
  editing = opened;
  setSending(opened, false);
  const image = element('editor-image');
  image.src = address(message.imageUrl);
  image.alt = message.prompt;
  prompt.value = message.prompt;
  prompt.maxLength = longestPrompt;
  whole.checked = false;
  strength.value = usualStrength;
  showStrength();
  showProblem('');
  mask.reset(1, 1);
  dialog.showModal();
  try {
    const { naturalWidth, naturalHeight } = await loadImage(image.src);
    if (editing === opened) mask.reset(naturalWidth, naturalHeight);
  } catch {
    if (editing === opened) showProblem(text('ImageNotLoaded'));
  }
}

/** What is marked does not count for the whole image. */
function changed() {
  const isNothing = mask.isEmpty || whole.checked;
  if (!mask.isEmpty || whole.checked) showProblem('');
  for (const id of ['editor-undo', 'editor-clear']) element(id).disabled = isNothing;
  element('editor-stage').classList.toggle('whole', whole.checked);
}

async function submit(event) {
  event.preventDefault();
  const words = prompt.value.trim();
  prompt.setAttribute('aria-invalid', String(!words));
  if (!words) return showProblem(text('PromptMissing'), prompt);
  if (!whole.checked && mask.isEmpty) return showProblem(text('NothingMarked'), whole);
  if (editing.isSending) return;

  // The dialog may be closed, and opened for another image, before this is sent.
  const opened = editing;
  const { message, conversationId, send } = opened;
  const change = strength.valueAsNumber / 100;
  setSending(opened, true);
  try {
    const upload = whole.checked ? null : await uploadImage(conversationId, await mask.toPng());
    await send({
      prompt: words,
      ...(message.settings.model && { model: message.settings.model }),
      source: {
        message_id: Number(message.id),
        strength: change,
        ...(upload && { mask_upload_id: upload.upload_id }),
      },
    });
    if (editing === opened) dialog.close();
  } catch (error) {
    if (editing === opened) showProblem(error.message);
    else showToast(error.message);
  } finally {
    setSending(opened, false);
  }
}

function setSending(opened, sending) {
  opened.isSending = sending;
  if (editing !== opened) return;
  element('editor-form').setAttribute('aria-busy', String(sending));
  setText(element('editor-send'), text(sending ? 'Sending' : 'Generate'));
}

function showProblem(sentence, field) {
  setText(element('editor-problem'), sentence);
  field?.focus();
}

function showStrength() {
  const value = percent(strength.valueAsNumber);
  strength.setAttribute('aria-valuetext', value);
  setText(element('editor-strength-value'), value);
}

element('editor-form').addEventListener('submit', submit);
element('editor-undo').addEventListener('click', () => mask.undo());
element('editor-clear').addEventListener('click', () => mask.clear());
element('brush-size').addEventListener('input', event => { mask.brush = event.target.valueAsNumber / 100; });
whole.addEventListener('change', changed);
strength.addEventListener('input', showStrength);
for (const id of ['editor-close', 'editor-cancel']) element(id).addEventListener('click', () => dialog.close());
dialog.addEventListener('close', () => {
  editing = null;
  element('editor-image').removeAttribute('src');
});
