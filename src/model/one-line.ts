/** A refusal has a line for each key: what shows one line alone (a cell of a table, `kubectl get events`) would hide them. */
export function inOneLine(text: string): string {
  return text.replaceAll(/:\n\s*/g, ': ').replaceAll(/\n\s*/g, '; ')
}
