// A picture from the camera of the device, into the box for questions.
(() => {
  const TITLE = translate('images.camera'), TAKE = translate('images.take'), CANCEL = translate('page.cancel');
  const INSECURE = translate('images.camera_insecure');
  const REFUSED = translate('images.camera_refused');
  const NONE = translate('images.camera_none');
  const QUALITY = 0.95;

  const dialog = document.createElement('dialog');
  dialog.id = 'camera';
  dialog.setAttribute('aria-labelledby', 'camera-title');
  dialog.innerHTML = `<h2 id="camera-title">${TITLE}</h2><p role="alert"></p>
    <video autoplay muted playsinline aria-label="${translate('images.camera_view')}"></video>
    <div class="choice"><button type="button" data-do="cancel">${CANCEL}</button>
    <button type="button" data-do="take" disabled>${TAKE}</button></div>`;
  const part = (selector) => dialog.querySelector(selector);
  const video = part('video'), take = part('[data-do=take]');
  let box;

  const end = () => {
    video.srcObject?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    take.disabled = true;
  };
  const begin = async () => {
    part('[role=alert]').textContent = '';
    dialog.showModal();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'environment', width: {ideal: 1920}}});
      if (dialog.open) video.srcObject = stream;
      else stream.getTracks().forEach((track) => track.stop()); // it was closed meanwhile
    } catch (error) {
      part('[role=alert]').textContent = error.name === 'NotAllowedError' ? REFUSED : NONE;
    }
  };
  const shoot = async () => {
    const canvas = Object.assign(document.createElement('canvas'), {width: video.videoWidth, height: video.videoHeight});
    canvas.getContext('2d').drawImage(video, 0, 0);
    const blob = await new Promise((made) => canvas.toBlob(made, 'image/jpeg', QUALITY));
    dialog.close();
    await window.attachFiles(box, [new File([blob], `${translate('images.camera_file')}.jpg`, {type: 'image/jpeg'})]);
  };

  video.addEventListener('loadeddata', () => { take.disabled = false; });
  dialog.addEventListener('close', end);
  dialog.addEventListener('click', (event) => {
    const choice = event.target.closest('button')?.dataset.do;
    if (choice === 'cancel') dialog.close();
    if (choice === 'take') shoot();
  });
  window.addEventListener('keydown', (event) => { // Esc stops no answer behind the dialog
    if (event.key === 'Escape' && dialog.open) event.stopPropagation();
  }, {capture: true});

  window.imageTools = (element) => {
    const button = element.querySelector('.use-camera');
    const isThere = Boolean(navigator.mediaDevices?.getUserMedia);
    if (!isThere) {
      button.hidden = true;
      element.querySelector('.why-none').textContent = window.isSecureContext ? NONE : INSECURE;
    }
    button.addEventListener('click', () => {
      box = [...document.querySelectorAll('.composer')].find((one) => one.getClientRects().length);
      begin();
    });
  };

  const start = () => document.body.append(dialog);
  if (document.body) start();
  else document.addEventListener('DOMContentLoaded', start);
})();
