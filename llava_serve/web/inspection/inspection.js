// What the model saw of a question: a dialog that the worker's inspection of the request fills.
// In place of an answer, on demand: its tokens, and the five likeliest at the place of one of them.
// Under the box for questions: what the draft costs, and what of the context it leaves.
(() => {
  const CLOSE = translate('page.close'), FAILED = translate('inspect.failed');

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
  dialog.innerHTML = `<header><h2 id="saw-title">${translate('inspect.saw')}</h2>
    <button type="button" class="close" aria-label="${CLOSE}" title="${CLOSE}">×</button></header>
    <div class="saw-told" role="status"></div><div class="saw-body" tabindex="0"></div>`;
  const said = dialog.querySelector('.saw-told'), body = dialog.querySelector('.saw-body');
  let asking = null, opener = null;

  const show = async (button) => {
    asking?.abort();
    const mine = asking = new AbortController();
    opener = button;
    body.replaceChildren();
    said.textContent = translate('inspect.asking');
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
  const DENSE = /[\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff]/; // a token or more for each character
  const number = (count) => Math.round(count).toLocaleString('en');
  const estimated = (text) => {
    let tokens = 0;
    for (const character of text.trim()) tokens += DENSE.test(character) ? 1 : 0.25;
    return Math.ceil(tokens);
  };
  const filesIn = (media) => {
    if (!media.length) return [];
    const count = media.reduce((all, one) => all + one.tokens, 0), tokens = number(count);
    if (media.length > 1) return [translate('inspect.draft_files', {files: media.length, tokens})];
    return [media[0].type === 'image' ? translate('inspect.draft_image', {count, tokens}) : translate('inspect.draft_video', {count, tokens})];
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
      place.id = `${this.kind}-cost-said`;
      if (!textbox.hasAttribute('aria-describedby')) {
        textbox.setAttribute('aria-describedby', place.id);
        textbox.setAttribute('aria-label', textbox.placeholder); // a description alone is no name
      }
      const text = estimated(textbox.value), isEmpty = !text && !attached.length;
      const draft = isEmpty ? '' : JSON.stringify([id, version, attached, this.models]);
      if (draft !== this.asked && draft !== this.seen) this.drop();
      else if (draft && draft !== this.asked) this.count(draft, {id, files: attached});
      this.seen = draft;
      const said = this.counted && !isEmpty ? this.said(this.counted, text) : '';
      const shown = said || (this.asking && attached.length ? translate('inspect.counting') : '');
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
      const parts = filesIn(media), tokens = number(text);
      if (text) parts.push(parts.length ? translate('inspect.draft_text', {tokens}) : translate('inspect.draft_text_alone', {count: text, tokens}));
      const rest = left === null ? null : left - text;
      if (rest > 0) parts.push(translate('inspect.draft_left', {left: number(rest), context: number(context)}));
      else if (rest !== null) parts.push(translate('inspect.draft_over', {tokens: number(1 - rest)}));
      const line = parts.join(' \u00b7 ');
      return line[0].toUpperCase() + line.slice(1);
    }
  }

  const costs = ['chat', 'compare'].map((kind) => new Cost(kind));
  setInterval(() => costs.forEach((cost) => cost.look()), LOOK_MS);

  // Tokens stay in place of an answer, whatever is drawn anew around it.
  const SPACE = '\u2423', LINE_END = '\u21b5';
  const shownTokens = new Set(); // of answers, by conversation and place

  const tip = document.createElement('div');
  tip.id = 'token-tip';
  tip.setAttribute('aria-hidden', 'true'); // each token's own name has the same
  const visible = (text) => text.replaceAll('\n', LINE_END).replace(/^ +| +$/g, (spaces) => SPACE.repeat(spaces.length));
  const percent = (share) => `${share < 0.1 ? '< 0.1' : share} %`;

  const rest = () => {
    tip.parentElement?.querySelector('[aria-selected=true]')?.removeAttribute('aria-selected');
    tip.parentElement?.querySelector('.tokens')?.removeAttribute('aria-activedescendant');
    tip.remove();
  };
  const point = (token) => {
    if (token.getAttribute('aria-selected') === 'true' && tip.isConnected) return;
    rest();
    const [text, share, top] = JSON.parse(token.dataset.about), view = token.closest('.token-view');
    token.setAttribute('aria-selected', 'true');
    token.id ||= `token-${Math.random().toString(36).slice(2)}`;
    token.setAttribute('aria-label', [`${visible(text)} ${percent(share)}`,
      translate('inspect.likeliest'), ...top.map(([other, of]) => `${visible(other)} ${percent(of)}`)].join(', '));
    token.parentElement.setAttribute('aria-activedescendant', token.id);
    const list = top.length ? top : [[text, share]];
    tip.replaceChildren(...list.map(([other, of]) => {
      const row = document.createElement('div');
      row.innerHTML = '<code></code><i></i><b></b>';
      row.children[0].textContent = visible(other);
      row.children[1].style.setProperty('--share', `${of}%`);
      row.children[2].textContent = percent(of);
      return row;
    }));
    view.append(tip);
    const place = token.getClientRects()[0], box = view.getBoundingClientRect();
    const room = view.closest('.transcript').getBoundingClientRect(), height = tip.offsetHeight + 8;
    const isAbove = place.bottom + height > room.bottom && place.top - height > room.top;
    tip.style.left = `${Math.max(0, Math.min(place.left - box.left, box.width - tip.offsetWidth))}px`;
    tip.style.top = `${isAbove ? place.top - box.top - height + 4 : place.bottom - box.top + 4}px`;
  };

  const keyOf = (button) => {
    const {id} = placeOf(button, button.dataset.tokens);
    return `${id} ${button.dataset.tokens}`;
  };
  const showTokens = async (button) => {
    const turn = button.closest('.turn');
    button.setAttribute('aria-pressed', 'true');
    const view = document.createElement('div');
    view.className = 'token-view';
    turn.querySelector('.text')?.after(view);
    const answer = await post('tokens', placeOf(button, button.dataset.tokens)).catch(() => null);
    if (answer?.ok) view.innerHTML = await answer.text();
    else view.textContent = FAILED;
    view.scrollIntoView({block: 'nearest'});
  };
  const hideTokens = (button) => {
    button.setAttribute('aria-pressed', 'false');
    button.closest('.turn').querySelector('.token-view')?.remove();
  };
  const keepTokens = () => {
    if (!shownTokens.size) return;
    for (const button of document.querySelectorAll('.turn [data-tokens][aria-pressed=false]')) {
      if (shownTokens.has(keyOf(button))) showTokens(button);
    }
  };
  setInterval(keepTokens, LOOK_MS);

  const tokenAt = (event) => event.target.closest?.('.token-view [role=option]');
  document.addEventListener('click', (event) => {
    const button = event.target.closest?.('.turn [data-tokens]'), token = tokenAt(event);
    if (token) point(token);
    else if (tip.isConnected) rest();
    if (!button) return;
    if (button.getAttribute('aria-pressed') === 'true') {
      shownTokens.delete(keyOf(button));
      hideTokens(button);
    } else {
      shownTokens.add(keyOf(button));
      showTokens(button);
    }
  });
  document.addEventListener('mouseover', (event) => {
    const token = tokenAt(event);
    if (token) point(token);
    else if (tip.isConnected && !event.target.closest?.('.token-view')) rest();
  });
  document.addEventListener('focusin', (event) => {
    if (event.target.matches?.('.tokens') && event.target.matches(':focus-visible')) {
      const first = event.target.querySelector('[role=option]');
      if (first && !event.target.querySelector('[aria-selected=true]')) point(first);
    }
  });
  document.addEventListener('focusout', (event) => { if (event.target.matches?.('.tokens')) rest(); });
  window.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && tip.isConnected && !dialog.open) {
      event.stopPropagation();
      return rest();
    }
    if (!event.target.matches?.('.tokens')) return;
    const tokens = [...event.target.querySelectorAll('[role=option]')];
    const at = tokens.findIndex((token) => token.getAttribute('aria-selected') === 'true');
    const next = {ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: Math.max(at - 1, 0), ArrowUp: Math.max(at - 1, 0), Home: 0, End: tokens.length - 1}[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const token = tokens[Math.min(next, tokens.length - 1)];
    token?.scrollIntoView({block: 'nearest'});
    if (token) point(token);
  }, {capture: true});
})();
