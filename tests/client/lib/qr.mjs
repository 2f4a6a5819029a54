// A pay code as a QR in the terminal, two modules to a character.
import QRCode from 'qrcode';

const margin = 2; // modules of quiet zone around it

/** The lines of the picture. On a terminal black on white, whatever its colours are; elsewhere bare blocks. */
export function drawQr(text, { colours = false } = {}) {
  const { modules } = QRCode.create(text, { errorCorrectionLevel: 'M' });
  const dark = (row, column) =>
    row >= 0 && column >= 0 && row < modules.size && column < modules.size && modules.get(row, column) === 1;
  const lines = [];
  for (let row = -margin; row < modules.size + margin; row += 2) {
    let line = '';
    for (let column = -margin; column < modules.size + margin; column++) {
      line += [' ', '▄', '▀', '█'][2 * dark(row, column) + dark(row + 1, column)];
    }
    lines.push(colours ? `\x1b[30;47m${line}\x1b[0m` : line);
  }
  return lines;
}
