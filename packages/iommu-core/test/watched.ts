/** An object that is looked at after each call of its methods. */

/** `subject`, with `check` run whenever one of its methods has ended, whether it returned or threw. */
export function watched<T extends object>(subject: T, check: () => void): T {
  return new Proxy(subject, {
    get(target, key) {
      // The object itself is `this`: a proxy has no private fields.
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...given: readonly unknown[]): unknown => {
        try {
          return Reflect.apply(value, target, given);
        } finally {
          check();
        }
      };
    },
  });
}
