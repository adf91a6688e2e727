// Files on their way into the box for questions: chosen, or dropped or pasted anywhere on the page.
// The server judges their first bytes before anything is uploaded, and a question whose file was
// refused is not sent until its user has said that it may go without, or has closed the refusal.
(() => {
  const HEAD_BYTES = 4096; // the server reads less
  const LOOK_MS = 50;
  const START_MS = 5000; // an upload that has not begun by then never does
  const passing = new WeakSet(); // file inputs whose next change is Gradio's to take
  const busy = new Map(); // box -> how many lots of files are being judged or uploaded
  const asked = new WeakSet(); // boxes whose question was to be sent meanwhile

  const shownBox = () =>
    [...document.querySelectorAll('.composer')].find((box) => box.getClientRects().length > 0);
  const place = (box) => document.querySelector(`#${box.id}-refusals .refusals`);
  const attached = (box) => box.querySelectorAll('.thumbnail-item').length;
  const isUploading = (box) => box.querySelector('.loader[role=status]') !== null;
  const isRefused = (box) => place(box).childElementCount > 0;
  const later = (ms) => new Promise((after) => setTimeout(after, ms));

  const card = (what, todo) => {
    const element = document.createElement('div');
    element.innerHTML = '<div class="card error" role="alert"><strong></strong><p></p></div>';
    element.querySelector('strong').textContent = what;
    element.querySelector('p').textContent = todo;
    return element.innerHTML;
  };

  const refuse = (box, cards) => {
    place(box).innerHTML = `<button type="button" class="close" aria-label="${translate('page.close')}">×</button>${cards}<div class="choice"><p class="unsent" role="status"></p>
      <button type="button" class="without">${translate('attach.go_on_without')}</button></div>`;
    place(box).scrollIntoView({block: 'nearest'});
    if (asked.has(box)) holdBack(box);
  };
  const holdBack = (box) => {
    asked.add(box);
    place(box).querySelector('.unsent').textContent = translate('attach.not_sent');
    place(box).querySelector('.without').textContent = translate('attach.send_without');
    place(box).scrollIntoView({block: 'nearest'});
  };
  const forget = (box) => {
    place(box).replaceChildren();
    asked.delete(box);
  };

  const head = async (file) => {
    let bytes = new Uint8Array(); // of a folder, or a file that may not be read
    try {
      bytes = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
    } catch { /* the server says what nothing is */ }
    return {name: file.name.slice(-200), size_bytes: file.size, head: btoa(String.fromCharCode(...bytes))};
  };

  const judge = async (box, files, replaced) => {
    const offer = {files: await Promise.all(files.map(head)), attached: attached(box) - replaced};
    const answer = await fetch('attach', {
      method: 'POST',
      headers: {'Content-Type': 'application/json'},
      body: JSON.stringify(offer),
    });
    if (!answer.ok) throw new Error(answer.statusText);
    return answer.json();
  };

  const upload = async (box, files) => {
    const most = attached(box) + files.length, transfer = new DataTransfer();
    files.forEach((file) => transfer.items.add(file));
    const input = box.querySelector('input[type=file]');
    input.files = transfer.files;
    passing.add(input);
    input.dispatchEvent(new Event('change'));
    passing.delete(input);
    input.value = ''; // so that the same file can be chosen again
    for (let waited = 0; attached(box) < most && (waited < START_MS || isUploading(box)); waited += LOOK_MS) {
      const began = isUploading(box);
      await later(LOOK_MS);
      if (began && !isUploading(box) && attached(box) < most) {
        await later(LOOK_MS);
        break;
      }
    }
    return attached(box) >= most;
  };

  const remove = async (box, places) => {
    for (const place of places.toSorted((one, other) => other - one)) {
      const left = attached(box) - 1;
      box.querySelectorAll('.thumbnail-wrapper')[place].querySelector('.delete-button').click();
      while (attached(box) > left) await new Promise((after) => requestAnimationFrame(after));
    }
  };

  const isWritten = (element) => element.matches('input:not([type=file]), textarea, select, [contenteditable=true]');
  // What is typed next is the question, unless its user has gone on to something else; where a
  // finger types, the keyboard would hide what was attached.
  const aim = (box, from) => {
    const at = document.activeElement, isFree = at === document.body || box.contains(at) || at === from;
    if (matchMedia('(hover: none)').matches || !isFree || (isWritten(at) && !box.contains(at))) return;
    box.querySelector('textarea').focus({preventScroll: true});
  };

  // Files that take the place of others: those stay until all of the new ones are there.
  const attach = async (box, given, replaced = []) => {
    if (!box || !given.length) return;
    box.dispatchEvent(new Event('attaching', {bubbles: true}));
    const wasAsked = asked.has(box), from = document.activeElement;
    forget(box);
    if (wasAsked) asked.add(box);
    busy.set(box, (busy.get(box) ?? 0) + 1);
    try {
      const {files, note, ...pdfs} = await window.openPdfs(box, given, attached(box) - replaced.length);
      const {refused, cards} = await judge(box, files, replaced.length);
      const isKept = refused.length && replaced.length;
      const fine = isKept ? [] : files.filter((_, index) => !refused.includes(index));
      const arrived = !fine.length || await upload(box, fine);
      if (fine.length && arrived) {
        await remove(box, replaced);
        window.notePages(box, note);
        aim(box, from);
      }
      const lost = card(translate('attach.upload_failed'), translate('attach.again'));
      if (pdfs.cards || refused.length || !arrived) refuse(box, pdfs.cards + cards + (arrived ? '' : lost));
    } catch {
      refuse(box, card(translate('attach.server_lost'), translate('attach.check_connection')));
    } finally {
      busy.set(box, busy.get(box) - 1);
    }
    if (!busy.get(box) && !isRefused(box) && asked.delete(box)) box.querySelector('.submit-button')?.click();
  };

  window.attachFiles = attach; // for what makes pictures itself: box, files, places of those replaced

  // Before everything else on the page: neither Gradio nor the browser may take a file by itself.
  const listen = (event, take) => window.addEventListener(event, take, {capture: true});

  listen('change', (event) => {
    const box = event.target.closest?.('.composer');
    if (!box || event.target.type !== 'file' || passing.has(event.target)) return;
    event.stopImmediatePropagation();
    attach(box, [...event.target.files]);
  });

  listen('paste', (event) => {
    const {files, types} = event.clipboardData, text = event.clipboardData.getData('text');
    // A table or a page brings a picture of itself along: its text is meant.
    if (!files.length || (text && types.includes('text/html'))) return;
    event.stopImmediatePropagation();
    if (!text) event.preventDefault();
    attach(shownBox(), [...files]);
  });

  const veil = document.createElement('div');
  veil.className = 'drop-veil';
  veil.innerHTML = `<p>${translate('attach.drop')}</p>`;
  const lift = () => veil.remove();
  const brings = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  const isText = (event) => event.target.closest?.('textarea, input') !== null;
  const drag = (event) => {
    if (!brings(event) && isText(event)) return;
    event.preventDefault(); // so that a drop beside a box does not open it in place of the page
    if (!brings(event)) return;
    event.stopImmediatePropagation();
    event.dataTransfer.dropEffect = 'copy';
    document.body.append(veil);
  };
  listen('dragenter', drag);
  listen('dragover', drag);
  listen('dragleave', (event) => {
    if (brings(event)) event.stopImmediatePropagation();
    if (event.relatedTarget === null) lift();
  });
  listen('dragend', lift);
  listen('drop', (event) => {
    lift();
    if (!brings(event) && isText(event)) return;
    event.preventDefault();
    if (!brings(event)) return;
    event.stopImmediatePropagation();
    // What stands over the page may take them.
    const dropped = new CustomEvent('files', {detail: [...event.dataTransfer.files], cancelable: true});
    if (window.dispatchEvent(dropped)) attach(shownBox(), dropped.detail);
  });

  const holds = (event, box) => {
    if (!isRefused(box) && !busy.get(box)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    asked.add(box);
    if (isRefused(box)) holdBack(box);
  };
  listen('keydown', (event) => {
    const box = event.target.closest?.('.composer');
    const sends = event.key === 'Enter' && !event.shiftKey && !event.isComposing;
    if (box && sends && event.target.matches('textarea')) holds(event, box);
  });
  listen('click', (event) => {
    const box = event.target.closest?.('.composer');
    if (box && event.target.closest('.submit-button')) holds(event, box);
    if (event.target.closest?.('#clear, #compare-clear') && shownBox()) forget(shownBox());
    const button = event.target.closest?.('.refusals :is(.without, .close)');
    if (!button) return;
    const refusing = document.getElementById(button.closest('[id$=-refusals]').id.replace(/-refusals$/, ''));
    const sends = asked.has(refusing) && button.matches('.without');
    forget(refusing);
    if (sends) refusing.querySelector('.submit-button')?.click();
    else refusing.querySelector('textarea').focus();
  });
})();
