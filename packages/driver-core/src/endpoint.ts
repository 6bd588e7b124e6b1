/**
 * One of a device's ways into an IOMMU, as the bus describes it: which provider, which of its contexts, which stream
 * ids. One device can have several, at several IOMMUs. The bus knows the wiring; who answers for a provider is found
 * out by the layer above.
 */
export interface Endpoint {
  /** Key of the IOMMU instance in this system, the way firmware would reference it (`rot`, `mdp0`). */
  readonly provider: string;
  /** Name of the context the streams are wired to (`rot_src`), as the provider knows it. */
  readonly context: string;
  /** Stream ids the device issues through this endpoint (MSM: machine ids, MIDs). */
  readonly streamIds: readonly number[];
}
