import type { CallOptions, CreateOptions, UpdateOptions } from "../calls.js";
import { filled, maskOf } from "../convert.js";
import { ApplicationSchema, type Application } from "../gen/octohooks/v1/application_pb.js";
import { ApplicationService } from "../gen/octohooks/v1/application_service_pb.js";
import { present, Resource } from "../resource.js";
import type { ApplicationValues, PageOptions } from "../values.js";

const { method } = ApplicationService;

/** The consumers of webhooks, usually one per customer. `application` is an ID or a UID. */
export class ApplicationResource extends Resource {
  /** Makes an application; `AlreadyExists` when another one has this UID. */
  async create(values: ApplicationValues, options?: CreateOptions): Promise<Application> {
    const application = filled(ApplicationSchema, values);
    const response = await this.transport.create(
      method.createApplication,
      { application },
      options,
    );
    return present(response.application);
  }

  /** Answers one application; `NotFound` when there is none with this ID or UID. */
  async get(application: string, options?: CallOptions): Promise<Application> {
    const response = await this.transport.call(method.getApplication, { application }, options);
    return present(response.application);
  }

  /** The applications, oldest first. */
  list(
    { pageSize = 50 }: PageOptions = {},
    options?: CallOptions,
  ): AsyncGenerator<Application, void, undefined> {
    return this.transport.list(
      method.listApplications,
      { pageSize },
      (response) => response.applications,
      options,
    );
  }

  /**
   * Changes the fields that are given, and no others; `""` and `null` clear one. Makes the application
   * when there is none with this UID, unless `allowMissing` is false.
   */
  async update(
    application: string,
    changes: ApplicationValues,
    { allowMissing = true, ...options }: UpdateOptions = {},
  ): Promise<Application> {
    const response = await this.transport.call(
      method.updateApplication,
      {
        application,
        values: filled(ApplicationSchema, changes),
        updateMask: maskOf(ApplicationSchema, changes),
        allowMissing,
      },
      options,
    );
    return present(response.application);
  }

  /** Deletes an application with its endpoints; what is pending for it is cancelled. */
  async delete(application: string, options?: CallOptions): Promise<void> {
    await this.transport.call(method.deleteApplication, { application }, options);
  }
}
