/** Why a policy was not taken: a line for each thing that is wrong, for the operator. */
export class PolicyBuildError extends Error {
  readonly code = 'policy_build';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'PolicyBuildError';
    this.problems = problems;
  }
}

/** A line for each thing that went wrong. */
export const problemsOf = (error: unknown): readonly string[] =>
  error instanceof PolicyBuildError ? error.problems : [error instanceof Error ? error.message : String(error)];
