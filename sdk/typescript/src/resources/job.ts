import type { CallOptions } from "../calls.js";
import type { Job } from "../gen/octohooks/v1/job_pb.js";
import { JobService } from "../gen/octohooks/v1/job_service_pb.js";
import { present, Resource } from "../resource.js";

/** The work on many messages that `endpoint.recover` and `endpoint.replay` begin. */
export class JobResource extends Resource {
  /**
   * Answers one job, which tells how far it is; `NotFound` when there is none with this ID, or it
   * finished more than 30 days ago.
   */
  async get(job: string, options?: CallOptions): Promise<Job> {
    const response = await this.transport.call(JobService.method.getJob, { job }, options);
    return present(response.job);
  }
}
