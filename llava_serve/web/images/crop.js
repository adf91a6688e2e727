// Crop and rotate a picture in the box for questions, before it is sent.
(() => {
  const TITLE = translate('images.crop');
  const EDGES = {
    left: translate('images.cut_left'), top: translate('images.cut_top'),
    right: translate('images.cut_right'), bottom: translate('images.cut_bottom'),
  };
  const WORDS = {
    counter: translate('images.rotate_left'), clockwise: translate('images.rotate_right'),
    reset: translate('images.reset'), cancel: translate('page.cancel'), use: translate('images.use'),
  };
  const UNREADABLE = translate('images.unreadable');
  const TOO_LARGE = translate('images.too_large');
  const MOST_CUT = 95, SHOWN_PX = 1000, QUALITY = 0.95;

  const dialog = document.createElement('dialog');
  dialog.id = 'crop';
  dialog.setAttribute('aria-labelledby', 'crop-title');
  const button = (name) => `<button type="button" data-do="${name}">${WORDS[name]}</button>`;
  dialog.innerHTML = `<h2 id="crop-title">${TITLE}</h2><p role="alert"></p>
    <canvas role="img" aria-label="${translate('images.crop_view')}"></canvas><p class="size" role="status"></p>
    <div class="edges">${Object.entries(EDGES).map(([edge, label]) =>
      `<label>${label}<input type="range" min="0" max="${MOST_CUT}" value="0" step="1" data-edge="${edge}"></label>`).join('')}</div>
    <div class="choice">${['counter', 'clockwise', 'reset'].map(button).join('')}<i></i>${['cancel', 'use'].map(button).join('')}</div>`;
  const part = (selector) => dialog.querySelector(selector);
  const view = part('canvas'), alert = part('[role=alert]');

  let box, index, file, whole, turns; // `whole` is the picture in full, turned as it is shown
  let cuts = {}; // percent, from each edge
  const NONE = {left: 0, top: 0, right: 0, bottom: 0};

  const canvasOf = (width, height, draw) => {
    const canvas = Object.assign(document.createElement('canvas'), {width, height});
    draw(canvas.getContext('2d'));
    return canvas;
  };
  const region = (width, height) => {
    const x = Math.round(width * cuts.left / 100), y = Math.round(height * cuts.top / 100);
    const right = Math.round(width * cuts.right / 100), bottom = Math.round(height * cuts.bottom / 100);
    return [x, y, Math.max(width - x - right, 1), Math.max(height - y - bottom, 1)];
  };
  const draw = () => {
    const scale = Math.min(1, SHOWN_PX / Math.max(whole.width, whole.height));
    view.width = Math.max(1, Math.round(whole.width * scale));
    view.height = Math.max(1, Math.round(whole.height * scale));
    const pen = view.getContext('2d');
    pen.drawImage(whole, 0, 0, view.width, view.height);
    pen.fillStyle = 'rgb(15 23 42 / 0.65)';
    pen.fillRect(0, 0, view.width, view.height);
    const kept = region(view.width, view.height);
    pen.drawImage(whole, ...region(whole.width, whole.height), ...kept);
    pen.strokeStyle = '#5eead4';
    pen.lineWidth = Math.max(2, view.width / 300);
    pen.strokeRect(...kept);
    const [, , width, height] = region(whole.width, whole.height);
    part('.size').textContent = translate('images.size', {width, height});
    for (const input of dialog.querySelectorAll('[data-edge]')) input.value = cuts[input.dataset.edge];
  };
  const rotate = (clockwise) => {
    const {width, height} = whole, before = whole;
    whole = canvasOf(height, width, (pen) => {
      pen.translate(height / 2, width / 2);
      pen.rotate(clockwise ? Math.PI / 2 : -Math.PI / 2);
      pen.drawImage(before, -width / 2, -height / 2);
    });
    const {left, top, right, bottom} = cuts;
    cuts = clockwise ? {left: bottom, top: left, right: top, bottom: right} : {left: top, top: right, right: bottom, bottom: left};
    turns += clockwise ? 1 : 3;
    draw();
  };

  const load = async (source) => {
    const blob = await (await fetch(source)).blob();
    const name = decodeURIComponent(new URL(source).pathname.split('/').pop());
    return new File([blob], name, {type: blob.type});
  };
  const begin = async () => { // turned as its camera was held
    const bitmap = await createImageBitmap(file, {imageOrientation: 'from-image'});
    whole = canvasOf(bitmap.width, bitmap.height, (pen) => pen.drawImage(bitmap, 0, 0));
    bitmap.close();
    [turns, cuts] = [0, {...NONE}];
    draw();
  };
  const open = async (thumbnail) => {
    box = thumbnail.closest('.composer');
    index = [...box.querySelectorAll('.thumbnail-wrapper')].indexOf(thumbnail);
    try {
      file = await load(thumbnail.querySelector('img').src);
      await begin();
    } catch {
      return window.tell?.(UNREADABLE);
    }
    alert.textContent = '';
    dialog.showModal();
  };

  // The picture takes the place of the old one: those behind it are attached once more.
  const replace = async (edited) => {
    const sources = [...box.querySelectorAll('.thumbnail-wrapper')].map((one) => one.querySelector('img')?.src);
    const behind = sources.slice(index + 1);
    const files = behind.every(Boolean) ? await Promise.all(behind.map(load)).catch(() => null) : null;
    const replaced = sources.map((_, place) => place).slice(index, files ? undefined : index + 1);
    await window.attachFiles(box, [edited, ...files ?? []], replaced);
  };
  const use = async () => {
    if (turns % 4 === 0 && Object.values(cuts).every((cut) => cut === 0)) return dialog.close();
    const kept = region(whole.width, whole.height), [, , width, height] = kept;
    const type = file.type === 'image/jpeg' ? 'image/jpeg' : 'image/png';
    const canvas = canvasOf(width, height, (pen) => pen.drawImage(whole, ...kept, 0, 0, width, height));
    const blob = await new Promise((made) => canvas.toBlob(made, type, QUALITY));
    if (!blob) {
      alert.textContent = TOO_LARGE;
      return;
    }
    dialog.close();
    const name = file.name.replace(/\.\w+$/, '') + (type === 'image/jpeg' ? '.jpg' : '.png');
    await replace(new File([blob], name, {type}));
  };

  const actions = {
    counter: () => rotate(false), clockwise: () => rotate(true), reset: begin, cancel: () => dialog.close(), use,
  };
  dialog.addEventListener('click', (event) => actions[event.target.closest('button')?.dataset.do]?.());
  dialog.addEventListener('input', (event) => {
    const {edge} = event.target.dataset, facing = {left: 'right', right: 'left', top: 'bottom', bottom: 'top'}[edge];
    cuts[edge] = Math.min(Number(event.target.value), MOST_CUT - cuts[facing]);
    draw();
  });
  let from = null;
  const at = (event) => {
    const {left, top, width, height} = view.getBoundingClientRect(), within = (n) => Math.min(Math.max(n, 0), 1);
    return [within((event.clientX - left) / width), within((event.clientY - top) / height)];
  };
  view.addEventListener('pointerdown', (event) => {
    from = at(event);
    view.setPointerCapture(event.pointerId);
  });
  view.addEventListener('pointermove', (event) => {
    if (!from) return;
    const [x, y] = at(event), [a, b] = [Math.abs(x - from[0]), Math.abs(y - from[1])];
    if (Math.min(a, b) < 1 - MOST_CUT / 100) return; // a click, or next to nothing
    cuts = {
      left: 100 * Math.min(x, from[0]), right: 100 * (1 - Math.max(x, from[0])),
      top: 100 * Math.min(y, from[1]), bottom: 100 * (1 - Math.max(y, from[1])),
    };
    draw();
  });
  for (const end of ['pointerup', 'pointercancel']) view.addEventListener(end, () => { from = null; });
  window.addEventListener('keydown', (event) => { // Esc stops no answer behind the dialog
    if (event.key === 'Escape' && dialog.open) event.stopPropagation();
  }, {capture: true});

  const offer = () => document.querySelectorAll('.composer').forEach((composer) => {
    [...composer.querySelectorAll('.thumbnail-wrapper')].forEach((one, n) => {
      const label = translate('images.edit', {number: n + 1});
      let edit = one.querySelector('.edit-image');
      one.setAttribute('role', 'group'); // Gradio's is an item of no list
      if (!one.querySelector('img')) return edit?.remove();
      if (!edit) {
        edit = Object.assign(document.createElement('button'), {type: 'button', className: 'edit-image icon-edit'});
        edit.addEventListener('click', (event) => {
          event.stopPropagation();
          open(one);
        });
        one.append(edit);
      }
      if (edit.title !== label) [edit.title, edit.ariaLabel] = [label, label];
    });
  });
  const start = () => {
    document.body.append(dialog);
    new MutationObserver(offer).observe(document.body, {childList: true, subtree: true});
  };
  if (document.body) start();
  else document.addEventListener('DOMContentLoaded', start);
})();
