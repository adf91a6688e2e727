// What the model saw of a question: a dialog that the worker's inspection of the request fills.
// Under the box for questions: what the draft costs, and what of the context it leaves.
(() => {
  const TITLE = 'What the model saw';
  const CLOSE = 'Close';
  const ASKING = 'Asking the worker \u2026';
  const FAILED = 'The page\u2019s server does not answer. Try again.';

  const post = (path, body, signal) => fetch(`inspection/${path}`, {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify(body),
    signal,
  });

  // An answer by its conversation and the place that its buttons name.
  const placeOf = (button, named) => {
    const kind = button.closest('.transcript').id.replace(/-transcript$/, '');
    const [exchange, slot] = named.split('.').map(Number);
    return {id: window.conversations.of(kind).id, exchange, slot};
  };

  const dialog = document.createElement('dialog');
  dialog.id = 'saw';
  dialog.setAttribute('aria-labelledby', 'saw-title');
  dialog.innerHTML = `<header><h2 id="saw-title">${TITLE}</h2>
    <button type="button" class="close" aria-label="${CLOSE}" title="${CLOSE}">×</button></header>
    <div class="saw-told" role="status"></div><div class="saw-body" tabindex="0"></div>`;
  const said = dialog.querySelector('.saw-told'), body = dialog.querySelector('.saw-body');
  let asking = null, opener = null;

  const show = async (button) => {
    asking?.abort();
    const mine = asking = new AbortController();
    opener = button;
    body.replaceChildren();
    said.textContent = ASKING;
    if (!dialog.isConnected) document.body.append(dialog);
    if (!dialog.open) dialog.showModal();
    try {
      const answer = await post('answer', placeOf(button, button.dataset.inspect), mine.signal);
      const text = answer.ok ? await answer.text() : (await answer.json()).error;
      if (asking !== mine) return;
      said.textContent = answer.ok ? '' : text || FAILED;
      if (answer.ok) body.innerHTML = text;
    } catch {
      if (asking === mine) said.textContent = FAILED;
    }
  };

  dialog.addEventListener('close', () => {
    asking?.abort();
    asking = null;
    if (opener?.isConnected) opener.focus();
  });
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog || event.target.closest('.close')) dialog.close();
  });
  // Esc closes the dialog, and stops no answer behind it.
  window.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && dialog.open) event.stopPropagation();
  }, {capture: true});
  document.addEventListener('click', (event) => {
    const button = event.target.closest?.('.turn [data-inspect]');
    if (button) show(button);
  });

  // The draft: its files are counted by the worker, its text is estimated here.
  const LOOK_MS = 400;
  const COUNTING = 'Counting the tokens \u2026';
  const WORDS = {
    image: (tokens) => `Picture: ${tokens} tokens`,
    video: (tokens) => `Clip: ${tokens} tokens`,
    files: (count, tokens) => `${count} files: ${tokens} tokens`,
    text: (tokens) => `text: about ${tokens}`,
    textAlone: (tokens) => `text: about ${tokens} tokens`,
    left: (left, context) => `${left} of ${context} left`,
    over: (tokens) => `too long by about ${tokens}`,
  };
  const DENSE = /[\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff]/; // a token or more for each character
  const number = (count) => Math.round(count).toLocaleString('en');
  const estimated = (text) => {
    let tokens = 0;
    for (const character of text.trim()) tokens += DENSE.test(character) ? 1 : 0.25;
    return Math.ceil(tokens);
  };
  const filesIn = (media) => {
    if (!media.length) return [];
    const sum = number(media.reduce((all, one) => all + one.tokens, 0));
    return [media.length === 1 ? WORDS[media[0].type](sum) : WORDS.files(media.length, sum)];
  };

  class Cost {
    constructor(kind) {
      this.kind = kind;
      this.seen = ''; // the draft as it was at the last look: what still changes is not counted
      this.asked = ''; // the draft that was counted, or is at the moment
      this.counted = null;
    }

    look() {
      const place = document.querySelector(`#${this.kind}-cost .parts`);
      const textbox = document.querySelector(`#${this.kind}-composer textarea`);
      const {id, version, attached = []} = window.conversations.of?.(this.kind) ?? {};
      if (!place || !textbox || !id) return;
      textbox.setAttribute('aria-describedby', place.id = `${this.kind}-cost-said`);
      const text = estimated(textbox.value), isEmpty = !text && !attached.length;
      const draft = isEmpty ? '' : JSON.stringify([id, version, attached, this.models]);
      if (draft !== this.asked && draft !== this.seen) this.drop();
      else if (draft && draft !== this.asked) this.count(draft, {id, files: attached});
      this.seen = draft;
      const said = this.counted && !isEmpty ? this.said(this.counted, text) : '';
      const shown = said || (this.asking && attached.length ? COUNTING : '');
      place.classList.toggle('over', Boolean(said) && !(this.counted.left > text));
      if (place.textContent !== shown) place.textContent = shown;
    }

    get models() {
      const menu = document.getElementById(`${this.kind}-model`);
      return menu && [menu.innerText, ...[...menu.querySelectorAll('input')].map(({value}) => value)].join(' ');
    }

    drop() {
      this.asking?.abort();
      this.asking = this.counted = null;
      this.asked = '';
    }

    // An error is not the draft's to tell: the question, if it is sent, has it.
    async count(draft, body) {
      this.drop();
      this.asked = draft;
      const mine = this.asking = new AbortController();
      try {
        const answer = await post('draft', body, mine.signal);
        const counted = answer.status === 200 ? await answer.json() : null;
        if (this.asking === mine) this.counted = counted;
      } catch { /* nothing is known of it */ }
      if (this.asking === mine) this.asking = null;
    }

    said({media, context, left}, text) {
      const parts = filesIn(media);
      if (text) parts.push((parts.length ? WORDS.text : WORDS.textAlone)(number(text)));
      const rest = left === null ? null : left - text;
      if (rest > 0) parts.push(WORDS.left(number(rest), number(context)));
      else if (rest !== null) parts.push(WORDS.over(number(1 - rest)));
      const line = parts.join(' \u00b7 ');
      return line[0].toUpperCase() + line.slice(1);
    }
  }

  const costs = ['chat', 'compare'].map((kind) => new Cost(kind));
  setInterval(() => costs.forEach((cost) => cost.look()), LOOK_MS);
})();
