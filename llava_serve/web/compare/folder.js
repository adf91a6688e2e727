// A folder of pictures with one question: chosen, uploaded, asked about, and followed, in a dialog.
(() => {
  const POLL_MS = 700, RETRY_MS = 3000, PAGE = 50;
  const IMAGE = /\.(png|jpe?g|webp|gif|bmp|tiff?|heic|heif|avif)$/i;
  const LOST = translate('page.lost'), ANSWERS = translate('folder.answers');
  // Dates are written as this browser writes them in the page's language.
  const {lang} = document.documentElement;
  const LOCALES = [...navigator.languages.filter((tag) => tag.split('-')[0] === lang.split('-')[0]), lang];

  const said = {
    chosen: (count, bytes, left) => {
      const megabytes = Math.max(0.1, bytes / 1e6).toFixed(1);
      const chosen = translate('folder.chosen', {count, megabytes});
      return left ? `${chosen} ${translate('folder.left_out', {files: left})}` : chosen;
    },
    progress: ({done, failed, total, running}) => {
      const counts = {done, failed, count: total};
      if (running) return failed ? translate('folder.running_failed', counts) : translate('folder.running', counts);
      return failed ? translate('folder.ended_failed', counts) : translate('folder.ended', counts);
    },
  };

  const dialog = document.createElement('dialog');
  dialog.id = 'folder';
  dialog.className = 'over';
  dialog.setAttribute('aria-labelledby', 'folder-title');
  dialog.innerHTML = `<header><h2 id="folder-title">${translate('folder.title')}</h2>
    <button type="button" class="close" aria-label="${translate('page.close')}">×</button></header>
    <p class="folder-told" role="alert"></p>
    <form class="ask"><fieldset class="models"><legend>${translate('folder.models')}</legend><div></div></fieldset>
    <label>${translate('folder.question')}<textarea name="question" rows="2" required></textarea></label>
    <div class="files"><button type="button" data-pick="folder">${translate('folder.choose_folder')}</button>
    <button type="button" data-pick="files">${translate('folder.choose_pictures')}</button>
    <span class="chosen" role="status">${translate('folder.none')}</span>
    <input type="file" webkitdirectory hidden><input type="file" multiple accept="image/*,.heic,.heif,.avif,.tif,.tiff" hidden></div>
    <details><summary>${translate('folder.parameters')}</summary><div class="parameters">
    <label>${translate('parameters.temperature')}<input name="temperature" type="number" min="0" max="2" step="any" value="0.2"></label>
    <label>${translate('parameters.top_p')}<input name="top_p" type="number" min="0" max="1" step="any" value="1"></label>
    <label>${translate('parameters.max_tokens')}<input name="max_tokens" type="number" min="1" step="1" value="512"></label>
    <label>${translate('parameters.seed')}<input name="seed" inputmode="numeric" placeholder="${translate('folder.seed_drawn')}"></label>
    <label class="long">${translate('parameters.system')}<textarea name="system" rows="2" placeholder="${translate('parameters.no_system')}"></textarea></label></div></details>
    <div class="row"><button type="submit" class="primary">${translate('folder.ask')}</button></div>
    <section class="earlier" aria-label="${translate('folder.earlier')}"></section></form>
    <section class="run" hidden><p class="asked"></p>
    <div class="row"><progress max="1" value="0" aria-label="${ANSWERS}"></progress><span class="counts" role="status"></span></div>
    <div class="row"><button type="button" data-do="stop">${translate('folder.stop')}</button><button type="button" data-do="start">${translate('folder.ask_missing')}</button>
    <a data-kind="csv" download>${translate('folder.save_csv')}</a><a data-kind="html" download>${translate('folder.save_sheet')}</a>
    <button type="button" data-do="another">${translate('folder.another')}</button><button type="button" data-do="remove" class="danger">${translate('folder.delete')}</button></div>
    <div class="answers" role="region" aria-label="${ANSWERS}" tabindex="0"></div></section>`;
  const part = (selector) => dialog.querySelector(selector);
  const form = part('form'), run = part('.run'), [folderInput, filesInput] = dialog.querySelectorAll('[type=file]');
  let id = null, mark = '', files = [], polling = 0, offered = {models: []}, chosen = null, count = PAGE;

  const tell = (text) => { part('.folder-told').textContent = text; };
  const call = async (path, options = {}) => {
    const answer = await fetch(`folders${path}`, options).catch(() => null);
    if (answer?.ok) return answer;
    const told = await answer?.json().catch(() => null);
    const error = new Error(typeof told?.error === 'string' ? told.error : LOST);
    throw Object.assign(error, {status: answer?.status, after: Number(answer?.headers.get('Retry-After')) || 0});
  };
  const post = (path, body) => call(path, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});
  const attempt = async (work) => {
    tell('');
    try {
      return await work();
    } catch (error) {
      tell(error.message);
      return null;
    }
  };

  const address = (value) => {
    const url = new URL(location.href);
    if (value === null) url.searchParams.delete('folder');
    else url.searchParams.set('folder', value);
    if (url.href !== location.href) history.replaceState(history.state, '', url);
  };

  // What can be asked, and what was: a run is found again by the address too.
  const offer = async () => {
    const before = offered;
    offered = await (await call(`?count=${count}`)).json();
    if (`${offered.models}` !== `${before.models}` || !offered.models.length) offerModels();
    const [is, was] = [offered, before].map(({folders, has_more}) => JSON.stringify([folders, has_more]));
    if (is === was) return;
    part('.earlier').replaceChildren(...(offered.folders.length ? [heading(translate('folder.earlier')), listed(offered.folders)] : []));
    if (offered.has_more) part('.earlier').append(older.cloneNode(true));
  };
  // Those of the comparison, or the first two, until the user chooses.
  const offerModels = () => {
    const compared = [...document.querySelectorAll('#compare-model .token')].map((one) => one.innerText.trim());
    const first = offered.models.filter((name) => compared.includes(name));
    const preset = chosen ?? (first.length ? first : offered.models.slice(0, 2));
    if (!offered.models.length) part('.models div').textContent = translate('folder.no_models');
    else part('.models div').replaceChildren(...offered.models.map((name) => {
      const label = document.createElement('label');
      const box = document.createElement('input');
      Object.assign(box, {type: 'checkbox', name: 'model', value: name, checked: preset.includes(name)});
      label.append(box, name);
      return label;
    }));
  };
  part('.models').addEventListener('change', () => { chosen = new FormData(form).getAll('model'); });
  const older = Object.assign(document.createElement('button'), {type: 'button', textContent: translate('folder.older')});
  older.dataset.do = 'older';
  const heading = (text) => Object.assign(document.createElement('h3'), {textContent: text});
  const listed = (folders) => {
    const list = document.createElement('ul');
    list.append(...folders.map((one) => {
      const item = document.createElement('li'), button = document.createElement('button');
      Object.assign(button, {type: 'button', className: 'known'});
      button.dataset.folder = one.id;
      const when = new Date(one.created_at * 1000).toLocaleString(LOCALES, {dateStyle: 'medium', timeStyle: 'short'});
      button.append(Object.assign(document.createElement('span'), {textContent: one.question}),
        Object.assign(document.createElement('small'), {textContent: `${translate('folder.pictures', {count: one.images})} · ${when}`}));
      item.append(button);
      return item;
    }));
    return list;
  };

  const choose = (all) => {
    files = all.filter((file) => file.type.startsWith('image/') || IMAGE.test(file.name))
      .sort((one, other) => (one.webkitRelativePath || one.name).localeCompare(other.webkitRelativePath || other.name, undefined, {numeric: true}));
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    part('.chosen').textContent = files.length ? said.chosen(files.length, bytes, all.length - files.length) : translate('folder.none');
  };

  const upload = (folder) => {
    const send = (file, position) => {
      const asked = new URLSearchParams({folder, name: file.name, position});
      return call(`/image?${asked}`, {method: 'POST', headers: {'Content-Type': 'application/octet-stream'}, body: file});
    };
    return uploadPictures([...files], send, (done, count) => { part('.chosen').textContent = translate('folder.uploading', {done, count}); });
  };
  const reasons = (names) => [...names].map(([reason, of]) => `${of.join(', ')}: ${reason}`).join('\n');

  const begin = async () => {
    const fields = new FormData(form), parameters = {};
    for (const name of ['temperature', 'top_p', 'max_tokens']) if (fields.get(name) !== '') parameters[name] = Number(fields.get(name));
    for (const name of ['seed', 'system']) if (fields.get(name).trim()) parameters[name] = fields.get(name).trim();
    const asked = {question: fields.get('question'), models: fields.getAll('model'), sizes: files.map(({size}) => size), parameters};
    const folder = (await (await post('', asked)).json()).id;
    const {arrived, refused, missing} = await upload(folder);
    const told = [
      ...(arrived ? [] : [translate('folder.nothing_arrived')]),
      ...(refused.size ? [translate('folder.refused', {reasons: reasons(refused)})] : []),
      ...(missing.size ? [translate('folder.missing', {reasons: reasons(missing)})] : []),
    ].join('\n');
    if (!arrived) { // the form stays as it is, to be mended
      choose(files);
      await call(`/${folder}`, {method: 'DELETE'}).catch(() => {});
      throw new Error(told);
    }
    await post(`/${folder}/start`, {});
    form.reset();
    choose([]);
    [chosen, offered] = [null, {models: []}];
    tell(told);
    await show(folder);
  };

  const update = (told) => {
    mark = told.mark;
    part('.asked').textContent = told.question;
    const counts = said.progress(told);
    if (part('.counts').textContent !== counts) part('.counts').textContent = counts; // it is heard
    Object.assign(part('progress'), {max: told.total || 1, value: told.done + told.failed});
    part('[data-do=stop]').hidden = !told.running;
    part('[data-do=start]').hidden = told.running || told.done === told.total;
    part('[data-do=remove]').hidden = told.running;
    if (told.table !== undefined) part('.answers').innerHTML = told.table;
    for (const [place, html] of Object.entries(told.cells ?? {})) {
      const cell = part(`[data-place="${place}"]`);
      if (cell) cell.innerHTML = html;
    }
  };

  const follow = async (mine) => {
    while (mine === polling && dialog.open) {
      let wait = POLL_MS;
      try {
        const told = await (await call(`/${id}?${new URLSearchParams({mark})}`)).json();
        if (mine !== polling) return;
        update(told);
        if (!told.running) return;
      } catch (error) {
        if (error.message !== LOST) return tell(error.message);
        wait = RETRY_MS;
      }
      await new Promise((after) => setTimeout(after, wait));
    }
  };

  const show = async (folder) => {
    const mine = ++polling;
    [id, mark] = [folder, ''];
    [form.hidden, run.hidden] = [true, false];
    address(folder);
    for (const link of dialog.querySelectorAll('a[data-kind]')) link.href = `folders/${folder}.${link.dataset.kind}`;
    await follow(mine);
  };

  const another = async () => {
    const mine = ++polling;
    [id, mark] = [null, ''];
    [form.hidden, run.hidden] = [false, true];
    part('.answers').replaceChildren();
    address('');
    while (mine === polling && dialog.open) {
      await offer().catch(({message}) => tell(message));
      await new Promise((after) => setTimeout(after, RETRY_MS));
    }
  };

  const open = async (folder) => {
    dialog.showModal();
    await attempt(() => (folder ? show(folder) : another()));
  };

  const actions = {
    stop: () => post(`/${id}/stop`, {}),
    start: async () => { await post(`/${id}/start`, {}); show(id); },
    another,
    older: async () => {
      const before = offered.folders.length;
      count += 2 * PAGE;
      await offer();
      dialog.querySelectorAll('.known')[before]?.focus();
    },
    remove: async () => {
      if (!confirm(translate('folder.confirm_delete'))) return;
      await call(`/${id}`, {method: 'DELETE'});
      await another();
    },
  };

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = part('[type=submit]');
    button.disabled = true;
    await attempt(begin);
    button.disabled = false;
  });
  for (const input of [folderInput, filesInput]) {
    input.addEventListener('change', () => {
      choose([...input.files]);
      input.value = '';
    });
  }
  dialog.addEventListener('click', (event) => {
    const target = event.target.closest('button');
    if (!target) return;
    if (target.matches('.close')) dialog.close();
    else if (target.dataset.pick) (target.dataset.pick === 'folder' ? folderInput : filesInput).click();
    else if (target.dataset.do) attempt(actions[target.dataset.do]);
    else if (target.dataset.folder) attempt(() => show(target.dataset.folder));
    else if (target.dataset.again) {
      const places = [target.dataset.again.split('.').map(Number)];
      attempt(async () => { await post(`/${id}/start`, {places}); show(id); });
    }
  });
  dialog.addEventListener('close', () => {
    polling += 1;
    address(null);
  });
  // Esc closes the dialog, and stops no answer behind it.
  dialog.addEventListener('keydown', (event) => { if (event.key === 'Escape') event.stopPropagation(); });
  document.addEventListener('click', (event) => {
    if (event.target.closest?.('.folder-open')) open(null);
  });
  window.addEventListener('files', (event) => {
    if (!dialog.open) return;
    event.preventDefault();
    if (!form.hidden) choose(event.detail);
  });
  const ready = () => {
    document.body.append(dialog);
    const named = new URL(location.href).searchParams.get('folder');
    if (named !== null) open(named);
  };
  if (document.body) ready();
  else document.addEventListener('DOMContentLoaded', ready);
})();
